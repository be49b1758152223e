"""Erasing thousands of nodes that read the same few tensors."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_text import model_from

from pruna_ir.passes.simplify.bulk_rewriter import BulkRewriter


@pytest.mark.parametrize("count", [3, 16, 17, 200])
@pytest.mark.parametrize("body", ["Mul(x, k)", "Mul(k, k)"])
def test_lists_of_readers(count: int, body: str) -> None:
    lines = " ".join(f"t{number} = {body}" for number in range(count))
    model = model_from(f"g (float[2] x) => (float[2] y) {{ {lines} y = Add(x, k) }}", k=np.ones(2, np.float32))
    graph = model.graph
    rewriter = BulkRewriter(graph)
    constant, each = graph.nodes[-1].inputs[1], 1 + (body == "Mul(k, k)")
    for left, node in enumerate(reversed(graph.nodes[:-1])):
        rewriter.erase(node)
        live = each * (count - 1 - left) + 1
        assert live <= len(constant.outputs) <= max(2 * live, 16)
        assert (len(constant.outputs) == 1) == (live == 1)
    rewriter.commit()
    assert [reader.op for reader in constant.outputs] == ["Add"]
    assert [node.op for node in graph.nodes] == ["Add"]


def test_commit_leaves_exact_lists() -> None:
    lines = " ".join(f"t{number} = Neg(x)" for number in range(40))
    model = model_from(f"g (float[2] x) => (float[2] t0) {{ {lines} }}")
    rewriter = BulkRewriter(model.graph)
    for node in model.graph.nodes[5:15]:
        rewriter.erase(node)
    rewriter.commit()
    assert len(model.graph.inputs[0].outputs) == len(model.graph.nodes) == 30
