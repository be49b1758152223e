"""`-O2` on trained models: the accuracy on the test split and the size that the project promises.

Speed is measured by `tests/benchmarks/quantization.py`; no test asserts a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pruna_ir.data import Dataset, evaluate
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

LARGEST_FILE = 0.4


@dataclass(frozen=True)
class Promise:
    """A model, its data, and the least score of the quantized one.

    Within half a point of the float model; for the three models that break other tools, no more than half a point (mAP
    0.003) below what NNCF 3.4 reaches on the same data.
    """

    model: str
    data: str
    score: float


FAST = [Promise("resnet20_cifar10", "cifar10", 0.915 - 0.005)]
SLOW = [
    Promise("resnet56_cifar10", "cifar10", 0.926 - 0.005),
    Promise("squeezenet11_imagenet", "imagenet-sample-caffe", 0.610 - 0.005),
    Promise("mobilenetv1_025_imagenet", "imagenet-sample", 0.4989 - 0.005),
    Promise("mobilenetv2_100_imagenet", "imagenet-sample-tf", 0.8978 - 0.005),
    Promise("yolox_nano_coco", "coco128-yolox", 0.3322 - 0.003),
]


@pytest.mark.parametrize(
    "promise", [*FAST, *(pytest.param(item, marks=pytest.mark.slow) for item in SLOW)], ids=lambda item: str(item.model)
)
def test_promise(promise: Promise, shared: Path, tmp_path: Path) -> None:
    source = shared / "models" / f"{promise.model}.onnx"
    model = Model.load(source)
    data = Dataset.load(shared / "data" / f"{promise.data}.yaml").bind(model.inputs())
    PassManager.parse("O2").run(model, data=data)
    size = model.save(tmp_path / "quantized.onnx")
    metric = data.metric()
    assert metric is not None
    score = evaluate(Session(tmp_path / "quantized.onnx", threads=2).run, data.require("test"), metric, 16)
    assert score >= promise.score
    assert size <= LARGEST_FILE * source.stat().st_size
