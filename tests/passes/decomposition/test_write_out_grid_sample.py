"""GridSample as gathered pixels, against ONNX Runtime's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.decomposition.write_out_grid_sample import WriteOutGridSample
from pruna_ir.testing import check_pass, missed, ops

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 3, 5, 6)).astype(np.float32)
# Some samples lie outside of the image, some far away.
GRID = RANDOM.uniform(-1.4, 1.4, (2, 4, 7, 2)).astype(np.float32)
GRID[0, 0, :3] *= 5


def sampling(attributes: str, x: str = "2,3,5,6", grid: str = "2,4,7,2", opset: int = 20) -> Model:
    """One GridSample."""
    result = ",".join("abcde"[: x.count(",") + 1])
    text = f"g (float[{x}] x, float[{grid}] grid) => (float[{result}] y) {{ y = GridSample<{attributes}>(x, grid) }}"
    return model_from(text, opset=opset)


@pytest.mark.parametrize(
    ("mode", "padding", "aligned"),
    [*itertools.product(["linear", "nearest", "cubic"], ["zeros", "border", "reflection"], [0, 1])],
)
def test_fires(mode: str, padding: str, aligned: int) -> None:
    model = sampling(f'mode="{mode}", padding_mode="{padding}", align_corners={aligned}')
    after, result = check_pass(WriteOutGridSample(), model, feeds={"x": X, "grid": GRID})
    assert result.counts == {"write-out-grid-sample": 1}
    assert "GridSample" not in ops(after)


def test_names_of_older_opsets() -> None:
    check_pass(WriteOutGridSample(), sampling('mode="bilinear"', opset=16), feeds={"x": X, "grid": GRID})


def test_one_image() -> None:
    model = sampling("align_corners=0", "1,3,5,6", "1,4,7,2")
    check_pass(WriteOutGridSample(), model, feeds={"x": X[:1], "grid": GRID[:1]})


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_volumes(mode: str) -> None:
    feeds = {"x": RANDOM.normal(size=(2, 2, 3, 4, 5)), "grid": RANDOM.uniform(-1.4, 1.4, (2, 2, 3, 2, 3))}
    model = sampling(f'mode="{mode}"', "2,2,3,4,5", "2,2,3,2,3")
    check_pass(WriteOutGridSample(), model, feeds={name: array.astype(np.float32) for name, array in feeds.items()})


def test_one_pixel() -> None:
    model = sampling('padding_mode="reflection", align_corners=1', "1,1,1,1", "1,4,7,2")
    check_pass(WriteOutGridSample(), model, feeds={"x": X[:1, :1, :1, :1], "grid": GRID[:1]})


def test_unknown_shapes_stay() -> None:
    after, result = check_pass(
        WriteOutGridSample(), sampling("align_corners=0", "n,3,5,6", "n,4,7,2"), feeds={"x": X, "grid": GRID}
    )
    assert ops(after) == ["GridSample"]
    assert missed(result) == ["the shape of `x` is not known"]
