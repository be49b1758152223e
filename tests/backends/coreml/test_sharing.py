"""Constants that a package has once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("coremltools")

from mil_nodes import agrees, written
from onnx_text import model_from, weight

from pruna_ir.backends.coreml.sharing import share_constants

TEXT = """g (float[1,3,8,8] x) => (float[1,3,8,8] y) {
    a = Conv <pads = [1,1,1,1]> (x, v)
    b = Relu (a)
    y = Conv <pads = [1,1,1,1]> (b, w)
}"""


def test_equal_constants_are_written_once(tmp_path: Path) -> None:
    model = model_from(TEXT, v=weight(3, 3, 3, 3), w=weight(3, 3, 3, 3, seed=1))
    session = written(model, tmp_path)
    function = session.package.spec.mlProgram.functions["main"]
    (block,) = function.block_specializations.values()
    values = Counter(
        op.attributes["val"].SerializeToString(deterministic=True) for op in block.operations if op.type == "const"
    )
    assert set(values.values()) == {1}
    places = [
        [argument.name for name in ("pad", "strides", "groups") for argument in op.inputs[name].arguments]
        for op in block.operations
        if op.type == "conv"
    ]
    assert places[0] == places[1] and len(set(places[0])) == 3
    share_constants(session.package.spec.mlProgram)
    assert len(block.operations) == sum(values.values()) + 4
    agrees(model, {"x": weight(1, 3, 8, 8, seed=2)})


def test_types_are_told_apart(tmp_path: Path) -> None:
    """The same bytes of a float and an integer are two constants; an output stays."""
    model = model_from(
        "g (float[1,2] x) => (float[1,2] y, int64[2] z) { y = Add (x, one)  z = Shape (x) }", one=np.ones(1, np.float32)
    )
    session = written(model, tmp_path)
    found = session.run({"x": np.zeros((1, 2), np.float32)})
    np.testing.assert_array_equal(found["z"], [1, 2])
    np.testing.assert_array_equal(found["y"], [[1, 1]])
