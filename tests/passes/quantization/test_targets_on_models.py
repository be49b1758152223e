"""Trained networks quantized for runtimes that are not here: legal for them, and as accurate under ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruna_ir.data import Dataset, evaluate
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

# How far the metric may fall: symmetric activations have a bit less.
ALLOWED = {"tflite": 0.005, "coreml": 0.005, "tensorrt": 0.010}
NETWORKS = {"kws_dscnn": "kws", "resnet20_cifar10": "cifar10", "resnet56_cifar10": "cifar10"}


@pytest.mark.slow
@pytest.mark.parametrize("target", ALLOWED)
@pytest.mark.parametrize("network", NETWORKS)
def test_network(network: str, target: str, shared: Path) -> None:
    model = Model.load(shared / "models" / f"{network}.onnx")
    dataset = Dataset.load(shared / "data" / f"{NETWORKS[network]}.yaml")
    data = dataset.bind(model.inputs())
    metric = data.metric()
    assert data.test is not None and metric is not None
    before = evaluate(Session(model).run, data.test, metric, 16)
    text = f"O1,quantize<target={target};guard=false;samples=128>,lint-qdq<target={target};strict=true>"
    PassManager.parse(text).run(model, data=dataset)
    assert evaluate(Session(model).run, data.test, metric, 16) >= before - ALLOWED[target]
