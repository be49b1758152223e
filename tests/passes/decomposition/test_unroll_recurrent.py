"""Recurrent layers against ONNX Runtime's own."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest

from pruna_ir.model import Model
from pruna_ir.passes.decomposition.unroll_recurrent import UnrollRecurrent
from pruna_ir.testing import check_pass, missed, ops

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, INPUTS, HIDDEN = 4, 2, 3, 5


def layer(
    op: str,
    given: str = "B",
    outputs: tuple[str, ...] = ("Y", "Y_h"),
    lengths: list[int] | None = None,
    steps: int = STEPS,
    opset: int = 14,
    **attributes: Any,
) -> Model:
    """A recurrent layer; `given` are its optional inputs: B(iases), h and c (states), P(eepholes)."""
    random = np.random.default_rng(0)
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = _GATES[op] * HIDDEN
    batch_first = attributes.get("layout", 0)
    state = [BATCH, directions, HIDDEN] if batch_first else [directions, BATCH, HIDDEN]
    shapes = {
        "W": [directions, rows, INPUTS],
        "R": [directions, rows, HIDDEN],
        "B": [directions, 2 * rows],
        "h": state,
        "c": state,
        "P": [directions, 3 * HIDDEN],
    }
    names = ["X", "W", "R", "B" if "B" in given else "", "lengths" if lengths else ""]
    names += ["h" if "h" in given else ""] + (
        ["c" if "c" in given else "", "P" if "P" in given else ""] * (op == "LSTM")
    )
    stored = [
        onnx.numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
        if name in names
    ]
    if lengths:
        stored.append(onnx.numpy_helper.from_array(np.array(lengths, np.int32), "lengths"))
    node = onnx.helper.make_node(op, names, outputs, hidden_size=HIDDEN, **attributes)
    data = [BATCH, steps, INPUTS] if batch_first else [steps, BATCH, INPUTS]
    values = [onnx.helper.make_tensor_value_info(name, 1, None) for name in outputs if name]
    graph = onnx.helper.make_graph(
        [node], "g", [onnx.helper.make_tensor_value_info("X", 1, data)], values, initializer=stored
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    return Model.load(onnx.shape_inference.infer_shapes(proto))


def fires(model: Model) -> Model:
    after, result = check_pass(UnrollRecurrent(), model)
    assert result.counts == {"unroll-recurrent": 1}
    return after


_DIRECTIONS = ("forward", "reverse", "bidirectional")


@pytest.mark.parametrize(("op", "direction", "given"), [*itertools.product(_GATES, _DIRECTIONS, ("", "B", "Bh"))])
def test_directions_and_inputs(op: str, direction: str, given: str) -> None:
    outputs = ("Y", "Y_h", "Y_c")[: 3 if op == "LSTM" else 2]
    fires(layer(op, given, outputs, direction=direction))


@pytest.mark.parametrize(("op", "direction"), [*itertools.product(_GATES, _DIRECTIONS)])
def test_lengths(op: str, direction: str) -> None:
    fires(layer(op, "Bhc", lengths=[2, 4], direction=direction))
    fires(layer(op, "B", lengths=[4, 1], direction=direction))


@pytest.mark.parametrize("given", ["P", "BP", "BhcP"])
def test_peepholes(given: str) -> None:
    fires(layer("LSTM", given, ("Y", "Y_h", "Y_c"), direction="bidirectional"))


@pytest.mark.parametrize("given", ["", "B", "h", "Bh"])
def test_gru_that_resets_behind_the_product(given: str) -> None:
    fires(layer("GRU", given, linear_before_reset=1, direction="bidirectional"))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("LSTM", {"clip": 0.3}),
        ("GRU", {"clip": 0.3}),
        ("RNN", {"clip": 0.3}),
        ("LSTM", {"input_forget": 1}),
        ("RNN", {"activations": ["Affine"], "activation_alpha": [0.5], "activation_beta": [0.25]}),
        ("RNN", {"activations": ["LeakyRelu"], "activation_alpha": [0.3]}),
        ("RNN", {"activations": ["ScaledTanh"], "activation_alpha": [0.5], "activation_beta": [2.0]}),
        ("RNN", {"activations": ["HardSigmoid"], "activation_alpha": [0.3], "activation_beta": [0.4]}),
        ("RNN", {"activations": ["Softsign"]}),
        ("RNN", {"activations": ["Softplus"]}),
        ("RNN", {"activations": ["Elu"], "activation_alpha": [0.7]}),
        ("RNN", {"activations": ["Relu", "LeakyRelu"], "activation_alpha": [0.7], "direction": "bidirectional"}),
        ("GRU", {"activations": ["HardSigmoid", "Relu"], "activation_alpha": [0.25], "activation_beta": [0.4]}),
        ("LSTM", {"activations": ["Sigmoid", "Relu", "Softsign"]}),
    ],
)
def test_functions(op: str, attributes: dict[str, Any]) -> None:
    fires(layer(op, "Bh", **attributes))


@pytest.mark.parametrize("outputs", [("Y",), ("", "Y_h"), ("", "", "Y_c"), ("Y", "", "Y_c")])
def test_outputs(outputs: tuple[str, ...]) -> None:
    fires(layer("LSTM", "B", outputs))


def test_too_many_steps() -> None:
    after, result = check_pass(UnrollRecurrent(), layer("RNN", steps=1001))
    assert ops(after) == ["RNN"]
    assert missed(result) == ["1001 steps, and at most 1000 are written out"]
