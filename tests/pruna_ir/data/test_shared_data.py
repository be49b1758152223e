"""The descriptions of real datasets load as they are and give the known metrics of real models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from pruna_ir.data import Dataset, evaluate
from pruna_ir.data.metrics import Run
from pruna_ir.model.spec import TensorSpec

DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


def open_model(path: Path) -> tuple[Run, list[TensorSpec]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    names = [output.name for output in session.get_outputs()]
    inputs = [TensorSpec(i.name, np.dtype(DTYPES[i.type]), tuple(i.shape)) for i in session.get_inputs()]

    def run(feeds: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return dict(zip(names, session.run(names, feeds), strict=True))

    return run, inputs


REFERENCES = [
    ("kws_dscnn", "kws", 0.8975),
    ("resnet20_cifar10", "cifar10", 0.915),
    pytest.param("resnet56_cifar10", "cifar10", 0.926, marks=pytest.mark.slow),
    pytest.param("mobilenetv1_025_imagenet", "imagenet-sample", 0.5178, marks=pytest.mark.slow),
    pytest.param("mobilenetv2_100_imagenet", "imagenet-sample-tf", 0.8967, marks=pytest.mark.slow),
    pytest.param("squeezenet11_imagenet", "imagenet-sample-caffe", 0.610, marks=pytest.mark.slow),
    pytest.param("yolox_nano_coco", "coco128-yolox", 0.3401, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("model", "data", "expected"), REFERENCES)
def test_known_metrics(shared: Path, model: str, data: str, expected: float) -> None:
    run, inputs = open_model(shared / "models" / f"{model}.onnx")
    bound = Dataset.load(shared / "data" / f"{data}.yaml").bind(inputs)
    metric = bound.metric()
    assert metric is not None
    assert evaluate(run, bound.require("test"), metric, 25) == pytest.approx(expected, abs=1e-4)


def test_fewer_scores_than_sentences(shared: Path) -> None:
    pytest.importorskip("scipy")
    ids = np.dtype(np.int64)
    inputs = [TensorSpec("input_ids", ids, ("N", "S")), TensorSpec("attention_mask", ids, ("N", "S"))]
    bound = Dataset.load(shared / "data" / "stsb.yaml").bind(inputs)

    def bag_of_words(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        counts = np.stack([np.bincount(row, minlength=30522)[1000:] for row in feeds["input_ids"]]).astype(np.float32)
        return {"embedding": counts / np.linalg.norm(counts, axis=1, keepdims=True)}

    metric, split = bound.metric(), bound.require("calibration").head(200)
    assert metric is not None
    # Word overlap alone correlates clearly; misaligned pairs would not.
    assert evaluate(bag_of_words, split, metric, 7) == evaluate(bag_of_words, split, metric, 64) > 0.4
