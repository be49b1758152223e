"""What the functions that several back ends share need to know of a node that is being written."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import onnx_graphsurgeon as gs


class NodeView(Protocol):
    """A node as every back end's op functions see it; shapes are ONNX's."""

    @property
    def node(self) -> gs.Node:
        """The node of the graph."""

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute."""

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an input."""

    def result_shape(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an output."""

    def constant(self, index: int) -> np.ndarray | None:
        """The values of an input if it is constant."""

    def has(self, index: int) -> bool:
        """Whether an optional input is there."""

    def required(self, index: int, what: str) -> np.ndarray:
        """The values of an input that must be constant; Unsupported if it is not."""
