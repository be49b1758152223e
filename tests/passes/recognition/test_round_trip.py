"""ONNX's own definitions of operators, which nobody here wrote: recognition finds the operator in them again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx_text import model_from, positive, weight

from pruna_ir import registry
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.testing import largest_difference, ops

TARGET = replace(registry.target("ort-cpu"), slow_ops=frozenset())
CLEAN_UP = "fold-constants,remove-noop,fold-constants,deduplicate,dead-code"
WEIGHTS = {"s": positive(8), "b": weight(8)}


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("y = Gelu(x)", "3,8"),
        ('y = Gelu<approximate = "tanh">(x)', "3,8"),
        ("y = Swish(x)", "2,3,8"),
        ("y = Swish<alpha = 1.5>(x)", "3,8"),
        ("y = HardSwish(x)", "3,8"),
        ("y = HardSigmoid(x)", "3,8"),
        ("y = HardSigmoid<alpha = 0.25, beta = 0.375>(x)", "3,8"),
        ("y = Mish(x)", "3,8"),
        ("y = Softplus(x)", "3,8"),
        ("y = Softsign(x)", "3,8"),
        ("y = LayerNormalization(x, s, b)", "3,8"),
        ("y = LayerNormalization<epsilon = 0.25>(x, s)", "3,8"),
        ("y = RMSNormalization(x, s)", "3,8"),
        ("y = RMSNormalization<epsilon = 0.25>(x, s)", "2,3,8"),
    ],
)
def test_round_trip(body: str, shape: str) -> None:
    weights = {name: value for name, value in WEIGHTS.items() if f" {name}" in body}
    original = model_from(f"g (float[{shape}] x) => (float[{shape}] y) {{ {body} }}", opset=24, **weights)
    (node,) = original.graph.nodes
    model = original.clone()
    expanded = PassManager.parse(f"expand<ops=[{node.op}]>").run(model)
    assert expanded.changed
    assert node.op not in ops(model)
    PassManager.parse(f"{CLEAN_UP},recognize,fuse,dead-code").run(model, target=TARGET)
    (found,) = model.graph.nodes
    assert found.op == node.op
    for name, value in node.attrs.items():
        assert found.attrs[name] == (value if isinstance(value, str) else pytest.approx(value))
    assert len(found.inputs) == len(node.inputs)
    for before, after in zip(node.inputs[1:], found.inputs[1:], strict=True):
        np.testing.assert_allclose(after.values, before.values)
    assert largest_difference(original, model) < 1e-6
