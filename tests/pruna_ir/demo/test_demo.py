"""The bundled model and data are what their README says, and tell nothing about the machine that made them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from pruna_ir.data import Dataset, evaluate
from pruna_ir.demo import DATA, MODEL
from pruna_ir.model.spec import TensorSpec

SPLITS = {"train": 997, "calibration": 200, "test": 600}


@pytest.fixture(scope="module")
def arrays() -> dict[str, NDArray[np.uint8]]:
    with np.load(MODEL.with_name("digits.npz"), allow_pickle=False) as archive:
        return dict(archive)


@pytest.mark.parametrize(("split", "accuracy"), [("test", 0.995), ("calibration", 0.99)])
def test_accuracy_as_described(split: str, accuracy: float) -> None:
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])

    def run(feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"logits": session.run(None, dict(feeds))[0]}

    data = Dataset.load(DATA).bind([TensorSpec("image", np.dtype(np.float32), ("batch", 1, 8, 8))])
    metric = data.metric()
    assert metric is not None
    assert evaluate(run, data.require(split), metric, batch_size=50) == pytest.approx(accuracy, abs=0.002)


def test_splits(arrays: dict[str, NDArray[np.uint8]]) -> None:
    for split, count in SPLITS.items():
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        assert images.shape == (count, 8, 8, 1) and images.dtype == np.uint8 and images.max() == 16
        assert set(labels.tolist()) == set(range(10))
    everything = np.concatenate([arrays[f"{split}_images"] for split in SPLITS])
    assert len(np.unique(everything, axis=0)) == len(everything)


def test_graph_leaves_work_for_the_passes() -> None:
    graph = onnx.load(MODEL).graph
    ops = Counter(node.op_type for node in graph.node)
    assert ops["Conv"] == ops["BatchNormalization"] == 9
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_no_path_of_the_machine_that_exported() -> None:
    content = MODEL.read_bytes()
    assert not re.search(rb"/(home|root|tmp|usr|work|Users|site-packages)/|\w+\.py\b", content)
