"""TensorRT's rules for Q/DQ: what breaks one is refused or made legal, and the builder does with it what we say."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorrt_rules import BROKEN, broken_graph

from pruna_ir.backends.tensorrt import proof
from pruna_ir.backends.tensorrt.backend import TensorrtBackend
from pruna_ir.backends.tensorrt.build_log import compare
from pruna_ir.backends.tensorrt.legality import require_legal
from pruna_ir.backends.tensorrt.precision import Layer
from pruna_ir.backends.tensorrt.writer import write_bundle
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model

BACKEND = TensorrtBackend(build="never")
MADE_LEGAL = [name for name, broken in BROKEN.items() if not broken.says]
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@pytest.mark.parametrize("name", BROKEN)
def test_a_graph_that_breaks_a_rule_is_refused_or_made_legal(name: str) -> None:
    with pytest.raises(PrunaError):
        require_legal(broken_graph(name))
    if not BROKEN[name].says:
        require_legal(BACKEND.legalize(broken_graph(name)))
        return
    with pytest.raises(PrunaError) as failure:
        BACKEND.legalize(broken_graph(name))
    assert failure.value.diagnostic.code == "Q001" and BROKEN[name].says in str(failure.value)


@pytest.mark.parametrize("name", [name for name, broken in BROKEN.items() if broken.edit[0]])
def test_the_graph_itself_is_legal(name: str) -> None:
    require_legal(broken_graph(name, edited=False))


def built(model: Model, folder: Path) -> str:
    """What the builder does with a graph as it stands."""
    for index, node in enumerate(model.graph.nodes):
        node.name = f"{node.op}_{index}"
    write_bundle(folder / "bundle", {"int8": model}, [], {})
    try:
        engine = proof.build(folder / "bundle")
    except PrunaError as failure:
        assert failure.diagnostic.code == "E002"  # by its parser, or by a crash
        return "refuses"
    layers = [Layer(node.name, node.op, "int8") for node in model.graph.nodes if node.op in PRODUCTS]
    return "Float" if compare(layers, engine.layers).missed else "Int8"


@pytest.mark.parametrize("name", BROKEN)
def test_the_builder_does_what_we_say(name: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    assert built(broken_graph(name), tmp_path) == BROKEN[name].builder


@pytest.mark.parametrize("name", MADE_LEGAL)
def test_the_builder_takes_what_was_made_legal(name: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    assert built(BACKEND.legalize(broken_graph(name)), tmp_path) != "refuses"
