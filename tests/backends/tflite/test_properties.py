"""Generated networks, in float and quantized: every file computes what its model does, with the model's scales."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

pytest.importorskip("ai_edge_litert")

import quantizable_networks
import random_networks

from pruna_ir.backends.agreement import compare, require_agreement, require_same_scales
from pruna_ir.backends.tflite.backend import TfliteBackend
from pruna_ir.backends.tflite.check import LIMITS, file_params
from pruna_ir.backends.tflite.session import LiteSession
from pruna_ir.data import Dataset
from pruna_ir.model import Model
from pruna_ir.model.random_feeds import random_feeds
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.session import Session

SAMPLES = 4
EXACT = 1e-5
# A failing example is shown as it was drawn: to shrink one takes minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
BACKENDS = st.builds(TfliteBackend, io=st.sampled_from(["onnx", "nhwc"]), batch=st.integers(1, 2))


def written(backend: TfliteBackend, legal: Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.tflite"
        backend.emit(legal, path)
        return path.read_bytes()


def samples(model: Model) -> list[dict[str, np.ndarray]]:
    return [random_feeds(model.inputs(), seed) for seed in range(SAMPLES)]


@settings(max_examples=25, phases=PHASES)
@given(random_networks.networks(), BACKENDS)
def test_networks_in_float(model: Model, backend: TfliteBackend) -> None:
    legal = backend.legalize(model)
    content = written(backend, legal)
    for delegate in (True, False):
        session = LiteSession(content, delegate=delegate)
        found = compare(legal, Session(legal, optimize=False), session, samples(model))
        assert max(item.worst for item in found.values()) <= EXACT, {name: str(item) for name, item in found.items()}


@settings(max_examples=25, phases=PHASES)
@given(quantizable_networks.networks(), BACKENDS, st.sampled_from(["tflite", "tflite-int16"]))
def test_networks_in_integers(model: Model, backend: TfliteBackend, target: str) -> None:
    data = {spec.name: np.concatenate([feeds[spec.name] for feeds in samples(model)]) for spec in model.inputs()}
    PassManager.parse("quantize<guard=false>").run(model, data=Dataset.from_arrays(data), target=target)
    legal = backend.legalize(model)
    content = written(backend, legal)
    require_same_scales(legal.graph, file_params(content))
    for delegate in (True, False):
        session = LiteSession(content, delegate=delegate)
        found = compare(legal, Session(legal, optimize=False), session, samples(model))
        require_agreement(found, LIMITS["quantized"], "generated", "XNNPACK" if delegate else "LiteRT's kernels")
