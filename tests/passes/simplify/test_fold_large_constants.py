"""Constants that take room, paid with what other passes saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_text import model_from, weight

from pruna_ir.analysis.counting import bytes_on_disk
from pruna_ir.model import Model
from pruna_ir.passes.simplify.fold_large_constants import FoldLargeConstants
from pruna_ir.pipeline.manager import PassManager, RunResult
from pruna_ir.testing import check_pass, largest_difference, missed, ops

# 8 KB of bias out of 40 bytes, and dead weights that pay for it or do not.
BIAS = "e = Expand(small, shape) n = Neg(e) y = Add(x, n)"
DEAD = "dead = Mul(x, unused)"


def graph(body: str, unused: int = 4096, outputs: str = "float[2,1000] y", **weights: Any) -> Model:
    held: dict[str, Any] = {
        "small": weight(2, 1),
        "shape": np.array([2, 1000]),
        "unused": weight(unused, 1, 1),
    } | weights
    read = {name: array for name, array in held.items() if name in body}
    return model_from(f"g (float[2,1000] x) => ({outputs}) {{ {body} }}", **read)


def run(model: Model) -> tuple[Model, RunResult]:
    """After dead code is gone, checked against the original."""
    after = model.clone()
    result = PassManager.parse("dead-code,fold-large-constants").run(after)
    assert largest_difference(model, after) == 0
    assert after.to_proto().ByteSize() <= model.to_proto().ByteSize()
    onnx.checker.check_model(after.to_proto())
    return after, result


def test_fires_with_room() -> None:
    after, result = run(graph(f"{DEAD} {BIAS}"))
    assert ops(after) == ["Add"]
    assert result.stages[1].counts == {"nodes folded": 2}


@pytest.mark.parametrize("body", [BIAS, f"{DEAD} {BIAS}"])
def test_stays_without_room(body: str) -> None:
    after, result = run(graph(body, unused=64))
    assert ops(after) == ["Expand", "Neg", "Add"]
    (remark,) = [remark for remark in result.remarks if remark.pass_name == FoldLargeConstants.name]
    assert str(remark.reason).startswith("the result of 2 node(s) would add 8,0")


def test_file_that_loading_made_larger(tmp_path: Path) -> None:
    """The file of the model counts where it is smaller than what was loaded from it."""
    model = graph(f"{DEAD} {BIAS}")
    onnx.save(graph(BIAS).to_proto(), tmp_path / "small.onnx")
    model.source = tmp_path / "small.onnx"
    after, _ = run(model)
    assert ops(after) == ["Expand", "Neg", "Add"]
    assert bytes_on_disk(model.source) < 1000


def test_fewest_bytes_per_node_first() -> None:
    """Two regions of equal size: there is room for one, and the one of two nodes wins."""
    body = f"{DEAD} a = Expand(small, shape) p = Add(x, a) e = Expand(other, shape) n = Neg(e) y = Add(p, n)"
    after, result = run(graph(body, unused=2500, other=weight(1, 1000)[:, :1]))
    assert ops(after) == ["Expand", "Add", "Add"]
    assert len([remark for remark in result.remarks if remark.pass_name == FoldLargeConstants.name]) == 1


def test_regions_with_a_node_in_common_are_one() -> None:
    body = f"{DEAD} e = Expand(small, shape) n = Neg(e) a = Abs(e) b = Add(n, a) y = Add(x, b)"
    after, result = run(graph(body))
    assert ops(after) == ["Add"]
    assert result.stages[1].counts == {"nodes folded": 4}


def test_what_frees_more_than_it_adds() -> None:
    """Without any room, as check_pass has none."""
    body = "first = Slice(table, zero, two) n = Neg(first) y = Add(x, n)"
    zero, two = np.array([0]), np.array([2])
    after, result = check_pass(FoldLargeConstants(), graph(body, table=weight(50, 1), zero=zero, two=two))
    assert ops(after) == ["Add"]
    assert result.counts == {"nodes folded": 2}


def test_output_of_the_graph_stays() -> None:
    body = f"{DEAD} e = Expand(small, shape) n = Neg(e) y = Add(x, n)"
    after, _ = run(graph(body, outputs="float[2,1000] y, float[2,1000] n"))
    assert ops(after) == ["Neg", "Add"]
    after, _ = run(graph(body, outputs="float[2,1000] y, float[2,1000] e"))
    assert ops(after) == ["Expand", "Neg", "Add"]


def test_read_by_a_subgraph_stays() -> None:
    body = f"""{DEAD} e = Expand(small, shape) s = ReduceSum <keepdims = 0> (x) c = Cast <to = 9> (s)
        y = If (c) <
            then_branch = t () => (float[2,1000] a) {{ a = Identity(e) }},
            else_branch = f () => (float[2,1000] b) {{ b = Neg(e) }}
        >"""
    after, _ = run(graph(body))
    assert ops(after) == ["Expand", "ReduceSum", "Cast", "If"]


@pytest.mark.parametrize(
    ("node", "op"), [("RandomNormalLike <seed = 1.0> (small)", "RandomNormalLike"), ("Bernoulli(small)", "Bernoulli")]
)
def test_random_operators_stay(node: str, op: str) -> None:
    model = graph(
        f"{DEAD} r = {node} z = Mul(r, zero) e = Expand(z, shape) y = Add(x, e)", zero=np.zeros((1,), np.float32)
    )
    after = model.clone()
    PassManager.parse("dead-code,fold-large-constants").run(after)
    assert ops(after) == [op, "Mul", "Expand", "Add"]


def test_computed_from_an_input_stays() -> None:
    after, result = check_pass(FoldLargeConstants(), graph("e = Expand(x, shape) y = Neg(e)"))
    assert ops(after) == ["Expand", "Neg"]
    assert missed(result) == []


def test_what_cannot_be_computed_stays() -> None:
    """A Reshape of 2 values to 3: the model would not run, but that is not for this pass to say."""
    model = graph(f"{DEAD} r = Reshape(small, bad) y = Add(x, r)", bad=np.array([3, 1]))
    after = model.clone()
    result = PassManager.parse("dead-code,fold-large-constants").run(after)
    assert ops(after) == ["Reshape", "Add"]
    (remark,) = [remark for remark in result.remarks if remark.pass_name == FoldLargeConstants.name]
    assert str(remark.reason).startswith("ONNX Runtime cannot compute it: ")


def test_first_nodes_of_a_region_that_costs_too_much() -> None:
    """The two nodes before the Expand take 8 bytes, what it writes takes 8,000."""
    body = f"{DEAD} a = Abs(small) n = Neg(a) e = Expand(n, shape) y = Add(x, e)"
    after, result = run(graph(body, unused=64))
    assert ops(after) == ["Expand", "Add"]
    assert result.stages[1].counts == {"nodes folded": 2}
    (remark,) = [remark for remark in result.remarks if remark.pass_name == FoldLargeConstants.name]
    assert str(remark.reason).startswith("the result of 1 node(s) would add ")
