"""What will be written: tensors and operators as the file format has them, free of its schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pruna_ir.remarks import Remark


@dataclass(frozen=True)
class Quantization:
    """How integers stand for real numbers: `scale` and `zero_point` hold one value, or one for each index of `axis`."""

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int = 0

    @property
    def per_channel(self) -> bool:
        """Whether there is more than one scale."""
        return self.scale.size > 1


@dataclass(eq=False)
class Tensor:
    """A tensor; `data` makes it a constant. `shape` is as it is stored, in the layout that was chosen."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    quantization: Quantization | None = None
    data: np.ndarray | None = None


@dataclass(eq=False)
class Operator:
    """A builtin operator by its name in the schema (`CONV_2D`).

    `options` are fields of its options table as the schema spells them; enumerations are named by text (`SAME`).
    """

    code: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Binding:
    """An input or output by its name in ONNX; `permutation` is the order in which the file has its axes."""

    name: str
    tensor: Tensor
    permutation: tuple[int, ...] | None = None


@dataclass
class Program:
    """A model of one graph. Inputs and outputs go by the names that ONNX has for them, which its signature gives them.

    `metadata` are named buffers beside the graph, `remarks` what there is to tell of how it was made.
    """

    inputs: list[Binding] = field(default_factory=list)
    outputs: list[Binding] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    description: str = "pruna-opt"
    metadata: dict[str, bytes] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)

    def tensors(self) -> list[Tensor]:
        """Every tensor once: the inputs first, then in the order in which operators name them."""
        found: dict[int, Tensor] = {id(item.tensor): item.tensor for item in self.inputs}
        for operator in self.operators:
            for tensor in [*operator.inputs, *operator.outputs]:
                if tensor is not None:
                    found.setdefault(id(tensor), tensor)
        for item in self.outputs:
            found.setdefault(id(item.tensor), item.tensor)
        return list(found.values())
