"""Trained models as users bring them: what is written back is what was read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from generated_models import run

from pruna_ir.model import Model
from pruna_ir.model.random_feeds import random_feeds

NAMES = (
    "kws_dscnn",
    "kwt1_speechcommands",
    "mobilenetv1_025_imagenet",
    "mobilenetv1_025_imagenet_bn",
    "mobilenetv2_100_imagenet",
    "resnet20_cifar10",
    "resnet56_cifar10",
    "resnet56_cifar10_bn",
    "silero_vad",
    "squeezenet11_imagenet",
    "ultraface_rfb320",
    "yolox_nano_coco",
)
# Inputs that random numbers cannot be: a sampling rate that the model knows.
FEEDS = {
    "silero_vad": {
        "input": np.random.default_rng(0).standard_normal((1, 512)).astype(np.float32),
        "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(16000),
    }
}


@pytest.fixture(params=NAMES)
def path(request: pytest.FixtureRequest, shared: Path) -> Path:
    """One model after the other."""
    return shared / "models" / f"{request.param}.onnx"


def test_a_round_trip_keeps_the_outputs_the_notes_and_the_bytes(path: Path, tmp_path: Path) -> None:
    model = Model.load(path)
    model.check()
    written = tmp_path / path.name
    size = model.save(written)
    assert size == written.stat().st_size <= path.stat().st_size

    original, again = onnx.load(path), onnx.load(written)
    feeds = FEEDS.get(path.stem) or random_feeds(model.inputs(), seed=0)
    for found, wanted in zip(run(again, feeds), run(original, feeds), strict=True):
        np.testing.assert_array_equal(found, wanted)

    assert header(again) == header(original)
    before, after = dict(notes(original.graph)), dict(notes(again.graph))
    lost = before.keys() - after.keys()
    if "opset raised" in " ".join(model.notes):  # the converter rewrites nodes; what survives keeps its notes
        assert all(after[key] == before[key] for key in after.keys() & before.keys())
    else:
        assert not {key for key in lost if any(before[key])}
        assert {key: after[key] for key in before.keys() - lost} == {key: before[key] for key in before.keys() - lost}


def header(proto: onnx.ModelProto) -> tuple[Any, ...]:
    fields = (proto.producer_name, proto.producer_version, proto.domain, proto.model_version, proto.doc_string)
    return (*fields, entries(proto))


def entries(part: Any) -> list[tuple[str, str]]:
    return [(entry.key, entry.value) for entry in part.metadata_props]


def notes(graph: onnx.GraphProto, scope: str = "") -> Iterator[tuple[str, tuple[str, list[tuple[str, str]]]]]:
    """Documentation and metadata of everything in a graph, by what names it."""
    yield f"{scope}graph", (graph.doc_string, entries(graph))
    for kind in ("input", "output", "initializer", "value_info"):
        for part in getattr(graph, kind):
            yield f"{scope}{kind} {part.name}", (part.doc_string, entries(part))
    for node in graph.node:
        yield f"{scope}node {node.output[0]}", (node.doc_string, entries(node))
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from notes(attribute.g, f"{scope}{node.output[0]}/{attribute.name}/")
