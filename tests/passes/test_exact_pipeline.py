"""The exact passes together: `-O1` on random networks and on trained ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from random_networks import networks

from pruna_ir import registry
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.testing import check_pass, largest_difference

OURS = "fold-constants,deduplicate,dead-code,fuse,deduplicate,dead-code"


@settings(max_examples=40)
@given(networks())
def test_random_networks_keep_their_numbers(model: Model) -> None:
    after = model.clone()
    result = PassManager.parse(OURS).run(after)
    assert largest_difference(model, after) <= 1e-5
    assert len(after.graph.nodes) <= len(model.graph.nodes)
    assert not PassManager.parse(OURS).run(after).changed
    assert result.changed == (after.fingerprint() != model.fingerprint())


@settings(max_examples=4)
@given(networks(most=25))
def test_random_networks_at_o1(model: Model) -> None:
    after = model.clone()
    PassManager.parse("O1").run(after)
    assert largest_difference(model, after) <= 1e-5


@settings(max_examples=15)
@given(networks())
@pytest.mark.parametrize("name", ["fold-constants", "deduplicate", "dead-code", "fuse"])
def test_every_pass_keeps_its_promises(name: str, model: Model) -> None:
    check_pass(registry.pass_class(name)(), model)


# The largest number of nodes that -O1 may leave, sub-graphs included: what onnxsim 0.8.1 alone leaves, or less.
NODES = {
    "kws_dscnn": 21,
    "kwt1_speechcommands": 284,
    "mobilenetv1_025_imagenet": 56,
    "mobilenetv1_025_imagenet_bn": 56,
    "mobilenetv2_100_imagenet": 100,
    "resnet20_cifar10": 54,
    "resnet56_cifar10": 144,
    "resnet56_cifar10_bn": 144,
    "silero_vad": 138,
    "squeezenet11_imagenet": 64,
    "ultraface_rfb320": 122,
    "yolox_nano_coco": 362,
}


@pytest.mark.parametrize("name", NODES)
def test_trained_networks(name: str, shared: Path, tmp_path: Path) -> None:
    source = shared / "models" / f"{name}.onnx"
    before, after = Model.load(source), Model.load(source)
    PassManager.parse("O1").run(after)
    assert after.save(tmp_path / "out.onnx") <= source.stat().st_size
    assert sum(len(graph.nodes) for graph in [after.graph, *after.graph.subgraphs(recursive=True)]) <= NODES[name]
    feeds = None
    if name == "silero_vad":  # the window that belongs to a sampling rate
        samples = np.random.default_rng(0).standard_normal((1, 512)).astype(np.float32)
        feeds = {"input": samples, "state": np.zeros((2, 1, 128), np.float32), "sr": np.array(16000)}
    assert largest_difference(before, Model.load(tmp_path / "out.onnx"), feeds) <= 1e-5
    assert not {"torch", "tensorflow", "onnxsim"} & sys.modules.keys()
