"""The graph that ONNX Runtime makes of a model."""

from __future__ import annotations

import numpy as np
import pytest
from small_graphs import samples, small_net

from pruna_ir.diagnostics import PrunaError
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.optimized import optimized
from pruna_ir.runtime.session import Session


@pytest.mark.parametrize("passes", ["", "quantize<guard=false>"])
def test_it_runs_as_the_optimized_model_does(passes: str) -> None:
    model = small_net()
    PassManager.parse(passes).run(model, data=samples())
    made = optimized(model)
    expected = Session(model).run({"x": samples()})["y"]
    np.testing.assert_allclose(Session(made, optimize=False).run({"x": samples()})["y"], expected, atol=1e-5)


def test_integer_kernels_keep_the_names_of_what_they_write() -> None:
    model = small_net()
    PassManager.parse("quantize<guard=false>").run(model, data=samples())
    writers = {name: node.op_type for node in optimized(model).graph.node for name in node.output}
    assert writers["r1_q"] == writers["c2_q"] == "QLinearConv"
    assert writers["y"] == "QGemm"


def test_refused_model() -> None:
    with pytest.raises(PrunaError) as failure:
        optimized(b"no model")  # type: ignore[arg-type]
    assert failure.value.diagnostic.code == "M009"
