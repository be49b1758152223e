"""Padding, against ONNX Runtime's."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from lite_nodes import Fixed, agrees, codes, node
from onnx_text import weight

from pruna_ir.diagnostics import PrunaError

IMAGE = weight(1, 3, 5, 6, seed=1)


@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 2, 0], [0, 1, 0, 0, 1, 0, 0, 2], [0, 0, -1, 1, 0, 1, 0, -2]])
@pytest.mark.parametrize(("value", "code"), [(None, "PAD"), (0.0, "PAD"), (-1.5, "PADV2")])
def test_constant(pads: list[int], value: float | None, code: str) -> None:
    values = [] if value is None else [Fixed(value, np.float32)]
    assert code in agrees(*node("Pad", IMAGE, Fixed(pads), *values))


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 2, 3], [0, 2, 0, 0, 0, 1, 4, 0]])
def test_modes(mode: str, pads: list[int]) -> None:
    agrees(*node("Pad", IMAGE, Fixed(pads), mode=mode, opset=19))


def test_only_some_axes() -> None:
    found = agrees(*node("Pad", IMAGE, Fixed([1, 2, 0, 1]), None, Fixed([-1, 2]), opset=18))
    assert found == ["PAD"]


def test_nothing_to_pad() -> None:
    assert "PAD" not in agrees(*node("Pad", IMAGE, Fixed([0] * 8)))


def test_computed_padding_is_refused() -> None:
    model, _ = node("Pad", IMAGE, np.zeros(8, np.int64))
    with pytest.raises(PrunaError, match="E004"):
        codes(model)
