"""Which channels go follows what the data's metric sees of the outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from channel_nets import images
from onnx_text import model_from, weight

from pruna_ir.data import Dataset
from pruna_ir.data.metrics import Outputs, TopK
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager

BRANCHES = {"wa": (16, 3, 3, 3), "wb": (16, 3, 3, 3), "va": (1, 16, 1, 1), "vb": (1, 16, 1, 1)}


class FirstClass(TopK):
    """Sees what an error does to the first class only."""

    def distance(self, found: Outputs, wanted: Outputs) -> tuple[float, float] | None:
        gap = found["y"][:, 0] - wanted["y"][:, 0]
        return float(np.square(gap).sum()), float(np.square(wanted["y"][:, 0]).sum())


def two_branches() -> Model:
    """x -> for each of two classes a branch of 16 channels -> y."""
    text = """g (float[n,3,8,8] x) => (float[n,2] y) {
        a0 = Conv(x, wa)    a = Relu(a0)    b0 = Conv(x, wb)    b = Relu(b0)
        c = Conv(a, va)    d = Conv(b, vb)    e = Concat<axis=1>(c, d)
        p = GlobalAveragePool(e)    y = Flatten(p)
    }"""
    names: dict[str, Any] = {n: weight(*shape, seed=seed) for seed, (n, shape) in enumerate(BRANCHES.items())}
    return model_from(text, **names)


def test_widths_follow_what_the_metric_sees() -> None:
    widths = []
    for metric in ("top1", FirstClass(1)):
        model = two_branches()
        data = Dataset.from_arrays(images(64), metric=metric)
        PassManager.parse("prune-channels<macs=0.5;round-to=1>").run(model, data=data)
        widths.append([node.inputs[1].shape[0] for node in model.graph.nodes if node.op == "Conv"][:2])
    assert min(widths[0]) >= 4 and widths[1][0] >= 12 and widths[1][1] <= 4
