"""Trained models, written in float: LiteRT gives what ONNX Runtime does, and nothing is transposed on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from pruna_ir.backends.tflite.legalize import legalize
from pruna_ir.backends.tflite.lowering import lower
from pruna_ir.backends.tflite.session import LiteSession
from pruna_ir.backends.tflite.writer import write
from pruna_ir.model import Model
from pruna_ir.model.opset import relative_error
from pruna_ir.runtime.session import Session

# Largest error relative to the range of outputs, and the number of TRANSPOSE.
FAST = {
    "kws_dscnn": (1e-5, 0),
    "resnet20_cifar10": (1e-5, 1),
    "mobilenetv1_025_imagenet": (1e-5, 1),
    "mobilenetv1_025_imagenet_bn": (1e-5, 1),
    "ultraface_rfb320": (1e-5, 1),
    "kwt1_speechcommands": (1e-5, 0),
}
SLOW = {
    "resnet56_cifar10": (1e-5, 1),
    "resnet56_cifar10_bn": (1e-5, 1),
    "mobilenetv2_100_imagenet": (1e-5, 1),
    "squeezenet11_imagenet": (1e-5, 1),
    "yolox_nano_coco": (1e-5, 1),
}
# Models that read pixels as they are; the others are fed numbers around zero.
PIXELS = {"yolox_nano_coco"}


def made_up(shape: Any, pixels: bool) -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.asarray(generator.integers(0, 256, shape) if pixels else generator.standard_normal(shape))


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_float(name: str, shared: Path) -> None:
    limit, transposes = {**FAST, **SLOW}[name]
    legal = legalize(Model.load(shared / "models" / f"{name}.onnx"))
    made = lower(legal)
    content = write(made)
    feeds = {spec.name: made_up(spec.shape, name in PIXELS).astype(spec.dtype) for spec in legal.inputs()}
    wanted = Session(legal, optimize=False).run(feeds)
    for delegate in (True, False):
        found = LiteSession(content, delegate=delegate).run(feeds, list(wanted))
        assert relative_error(wanted, found) <= limit
    assert sum(operator.code == "TRANSPOSE" for operator in made.operators) == transposes
