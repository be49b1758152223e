"""Axes of Einsum."""

from __future__ import annotations

import pytest
from axis_checks import check_groups, described
from axis_nets import TOKENS, net
from onnx_text import weight

from pruna_ir.analysis.axes import Use, analyze
from pruna_ir.analysis.axes.einsum import signature_of


@pytest.mark.parametrize(
    ("equation", "signature"),
    [
        ("bij,bjk->bik", "A0[b i j] A1[b j k] -> Y[b i k]"),
        ("...ij, jk -> ...ik", "A0[... i j] A1[j k] -> Y[... i k]"),
        ("ij,jk", "A0[i j] A1[j k] -> Y[i k]"),
        ("...kj,ji", "A0[... k j] A1[j i] -> Y[... i k]"),
        ("ii->i", "A0[i i] -> Y[i]"),
        ("bi->", "A0[b i] -> Y[]"),
    ],
)
def test_signatures(equation: str, signature: str) -> None:
    assert signature_of(equation) == signature


@pytest.mark.parametrize(("first", "second"), [("bti,io->bto", "bto,oj->btj"), ("...i,oi->...o", "...o,jo->...j")])
def test_linear_layers(first: str, second: str) -> None:
    body = f'h = Einsum<equation="{first}">(x, a) r = Relu(h) y = Einsum<equation="{second}">(r, c)'
    stored = (weight(8, 6), weight(5, 8)) if "..." in first else (weight(6, 8), weight(8, 5))
    model = net(body, a=stored[0], c=stored[1], ends=TOKENS)
    analysis = check_groups(model)
    group = analysis.group("h")
    axis = 0 if "..." in first else 1
    assert (group.size, group.producers, group.consumers) == (8, (Use("h", 1, axis),), (Use("y", 1, 1 - axis),))


def test_heads_of_attention() -> None:
    """Both the heads and their sizes are axes of their own here, and can be cut."""
    body = (
        'q = Einsum<equation="bti,ihd->bhtd">(x, a) k = Einsum<equation="bsi,ihd->bhsd">(x, b)'
        ' v = Einsum<equation="bsi,ihd->bhsd">(x, c) s = Einsum<equation="bhtd,bhsd->bhts">(q, k) p = Softmax(s)'
        ' o = Einsum<equation="bhts,bhsd->bthd">(p, v) y = Einsum<equation="bthd,hdj->btj">(o, w)'
    )
    stored = {name: weight(6, 3, 4, seed=seed) for seed, name in enumerate("abc")}
    analysis = check_groups(net(body, stored, w=weight(3, 4, 5), ends=TOKENS))
    assert sorted(group.size for group in analysis.free) == [3, 4, 4]
    assert not any(group.reduces for group in analysis.free)


def test_a_diagonal_ties_its_axes() -> None:
    ends = "g (float[4,6] x) => (float[5] y)"
    body = 'h = MatMul(v, x) k = MatMul(h, a) d = Einsum<equation="ii->i">(k) y = MatMul(w, d)'
    analysis = check_groups(net(body, ends=ends, v=weight(8, 4), a=weight(6, 8), w=weight(5, 8)))
    assert [group.size for group in analysis.free] == [8]


def test_another_number_of_axes_is_refused() -> None:
    """What onnx checks at run time only."""
    model = net('h = MatMul(x, a) y = Einsum<equation="ij->ij">(h)', a=weight(6, 5), ends=TOKENS)
    assert described(analyze(model))["h"] == "`y` (Einsum) has an input of 3 axes, not [i j]"
