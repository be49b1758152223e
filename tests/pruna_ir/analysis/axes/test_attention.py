"""Axes of attention: the operators Attention and RotaryEmbedding, and the parts that exporters write them as."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from axis_checks import check_groups, check_removal, described
from axis_nets import TOKENS, net, sizes
from onnx_text import weight

from pruna_ir.analysis.axes import AxisAnalysis, Options, Use, analyze
from pruna_ir.model import Model

Split = Literal["inner", "outer"]
HEADS, SIZE, VALUE = 4, 6, 3
PROJECTIONS = "q = MatMul(x, a) k = MatMul(x, b) v = MatMul(x, c) "


def stored(heads: int = HEADS, shared: int = 1) -> dict[str, np.ndarray]:
    """Weights of projections to so many heads of queries, of which `shared` have one of keys and values."""
    return {
        "a": weight(6, heads * SIZE, seed=1),
        "b": weight(6, heads * SIZE // shared, seed=2),
        "c": weight(6, heads * VALUE // shared, seed=3),
        "w": weight(heads * VALUE, 5, seed=4),
        "root": np.array(SIZE**-0.5, np.float32),
        "sq": np.array([0, 0, heads, SIZE]),
        "sk": np.array([0, 0, heads // shared, SIZE]),
        "sv": np.array([0, 0, heads // shared, VALUE]),
        "back": np.array([0, 0, -1]),
    }


# The operator


def attention(split: Split, shared: int = 1, attributes: str = "") -> tuple[Model, AxisAnalysis]:
    counts = f"q_num_heads={HEADS},kv_num_heads={HEADS // shared}{attributes}"
    model = net(
        f"{PROJECTIONS} o = Attention<{counts}>(q, k, v) y = MatMul(o, w)", stored(shared=shared), ends=TOKENS, opset=23
    )
    return model, check_groups(model, Options(split=split))


@pytest.mark.parametrize("shared", [1, 2, 4])
def test_sizes_of_heads(shared: int) -> None:
    """Queries and keys are coupled, values and outputs are."""
    model, analysis = attention("inner", shared)
    assert sizes(analysis) == {"q +1": SIZE, "v": VALUE}
    queries = analysis.group("q +1")
    assert queries.producers == (Use("q", 1, 1), Use("k", 1, 1))
    assert analysis.positions(queries, Use("q", 1, 1))[1].tolist() == [1, 7, 13, 19]
    cut = check_removal(model, {"q +1": [0, 5]}, analysis)
    (node,) = (node for node in cut.graph.nodes if node.op == "Attention")
    assert node.attrs["scale"] == pytest.approx(SIZE**-0.5), "the scale of the size that the heads were trained with"
    assert (node.attrs["q_num_heads"], node.attrs["kv_num_heads"]) == (HEADS, HEADS // shared)


@pytest.mark.parametrize("shared", [1, 2])
def test_whole_heads(shared: int) -> None:
    """Heads of queries that share one of keys and values go with it."""
    model, analysis = attention("outer", shared, ",scale=0.25")
    assert sizes(analysis) == {"q +2": HEADS // shared}
    cut = check_removal(model, {"q +2": [0]}, analysis)
    (node,) = (node for node in cut.graph.nodes if node.op == "Attention")
    assert (node.attrs["q_num_heads"], node.attrs["kv_num_heads"]) == (HEADS - shared, HEADS // shared - 1)
    assert node.attrs["scale"] == pytest.approx(0.25)


def test_whole_heads_that_share_the_only_one() -> None:
    """Multi-query attention: any head of queries can go."""
    _, analysis = attention("outer", HEADS)
    assert sizes(analysis)["q"] == HEADS


OPERATOR = "i = Transpose<perm=[0,2,1,3]>(m) o = Reshape(i, back) y = MatMul(o, w)"


@pytest.mark.parametrize(("split", "expected"), [("inner", [VALUE, SIZE]), ("outer", [HEADS])])
def test_operands_with_an_axis_of_heads(split: Split, expected: list[int]) -> None:
    """Heads and sizes are axes of their own, and which of them is cut is told by where they are split."""
    parts = "".join(map(split_heads, "qkv"))
    model = net(f"{PROJECTIONS} {parts} m = Attention(qh, kh, vh) {OPERATOR}", stored(), ends=TOKENS, opset=23)
    assert sorted(sizes(check_groups(model, Options(split=split))).values()) == expected


@pytest.mark.parametrize("split", ["inner", "outer"])
@pytest.mark.parametrize("heads", [1, HEADS])
def test_a_mask(split: Split, heads: int) -> None:
    ends = f"g (float[2,7,6] x, float[1,{heads},7,7] m) => (float[2,7,5] y)"
    counts = f"q_num_heads={HEADS},kv_num_heads={HEADS}"
    body = f"{PROJECTIONS} o = Attention<{counts}>(q, k, v, m) y = MatMul(o, w)"
    model = net(body, stored(), ends=ends, opset=23)
    analysis = analyze(model, Options(split=split))
    free = {"inner": 2, "outer": 0 if heads > 1 else 1}[split]
    assert len(analysis.free) == free
    if free:
        check_groups(model, Options(split=split))


def test_a_cache_stays() -> None:
    """Pitfall 10: keys and values that the graph takes and gives have the sizes that its caller knows."""
    ends = (
        f"g (float[2,1,6] x, float[2,{HEADS},3,{SIZE}] pk, float[2,{HEADS},3,{VALUE}] pv)"
        f" => (float[2,1,5] y, float[2,{HEADS},4,{SIZE}] nk, float[2,{HEADS},4,{VALUE}] nv)"
    )
    counts = f"q_num_heads={HEADS},kv_num_heads={HEADS}"
    body = f"{PROJECTIONS} o, nk, nv = Attention<{counts}>(q, k, v, , pk, pv) y = MatMul(o, w)"
    analysis = analyze(net(body, stored(), ends=ends, opset=23))
    assert not analysis.free
    assert described(analysis)["q +1"] == "`pk` is an input of the graph"


def test_unknown_heads_stay() -> None:
    body = f"{PROJECTIONS} o = Attention<q_num_heads=4,kv_num_heads=3>(q, k, v) y = MatMul(o, w)"
    weights = stored() | {"b": weight(6, 18), "c": weight(6, 9)}
    assert "numbers of heads" in described(analyze(net(body, weights, ends=TOKENS, opset=23)))["q"]  # type: ignore[operator]


# The parts


def split_heads(name: str, order: str = "0,2,1,3") -> str:
    return f"{name}4 = Reshape({name}, s{name}) {name}h = Transpose<perm=[{order}]>({name}4) "


PARTS = (
    "d = Mul(qh, root) r = MatMul(d, kt) p = Softmax(r) m = MatMul(p, vh) i = Transpose<perm=[0,2,1,3]>(m)"
    " o = Reshape(i, back) y = MatMul(o, w)"
)
SPLITTING = split_heads("q") + split_heads("v") + "k4 = Reshape(k, sk) kt = Transpose<perm=[0,2,3,1]>(k4) "


@pytest.mark.parametrize(("split", "expected"), [("inner", {"q +1": SIZE, "v": VALUE}), ("outer", {"q +2": HEADS})])
def test_parts(split: Split, expected: dict[str, int]) -> None:
    model = net(f"{PROJECTIONS} {SPLITTING} {PARTS}", stored(), opset=17, ends=TOKENS)
    assert sizes(check_groups(model, Options(split=split))) == expected


@pytest.mark.parametrize("split", ["inner", "outer"])
@pytest.mark.parametrize("how", ["split", "gather"])
def test_packed_projections(split: Split, how: str) -> None:
    """One matrix for queries, keys and values, taken apart by Split, or by Reshape and Gather."""
    weights = stored() | {"a": weight(6, 3 * HEADS * SIZE), "w": weight(HEADS * SIZE, 5)}
    shape = [0, 0, HEADS, SIZE]
    if how == "split":
        body = f"z = MatMul(x, a) q, k, v = Split<axis=2>(z, thirds) {SPLITTING} {PARTS}"
    else:
        pick = "".join(f"{n}h = Gather<axis=0>(zt, i{n}) " for n in ("q", "k", "v"))
        body = (
            "z = MatMul(x, a) z5 = Reshape(z, packed) zt = Transpose<perm=[2,0,3,1,4]>(z5) "
            f"{pick} kt = Transpose<perm=[0,1,3,2]>(kh) {PARTS}"
        )
    weights |= {"thirds": np.array([HEADS * SIZE] * 3), "packed": np.array([0, 0, 3, HEADS, SIZE])}
    weights |= {name: np.array(shape) for name in ("sq", "sk", "sv")} | {
        f"i{n}": np.array(i) for i, n in enumerate("qkv")
    }
    found = sizes(check_groups(net(body, weights, opset=17, ends=TOKENS), Options(split=split)))
    if split == "outer":
        assert list(found.values()) == [HEADS]
    else:
        assert list(found.values()) == ([SIZE, SIZE] if how == "split" else [SIZE])


def repeated(name: str, shared: int) -> str:
    """Heads that several of queries share, written out by Unsqueeze, Expand and Reshape."""
    return f"{name}5 = Unsqueeze({name}h, two) {name}e = Expand({name}5, e{name}) {name}r = Reshape({name}e, r{name}) "


@pytest.mark.parametrize(("split", "expected"), [("inner", [SIZE, VALUE]), ("outer", [HEADS // 2])])
def test_shared_heads_in_parts(split: Split, expected: list[int]) -> None:
    """Pitfall 10: grouped queries by Expand and Reshape."""
    ends = "g (float[2,7,6] x) => (float[2,7,5] y)"
    body = (
        f"{PROJECTIONS} {split_heads('q')} {split_heads('k')} {split_heads('v')} {repeated('k', 2)} {repeated('v', 2)}"
        f" kt = Transpose<perm=[0,1,3,2]>(kr) {PARTS.replace('MatMul(p, vh)', 'MatMul(p, vr)')}"
    )
    weights = stored(shared=2) | {"two": np.array([2])}
    for name, size in (("k", SIZE), ("v", VALUE)):
        weights[f"e{name}"] = np.array([2, HEADS // 2, 2, 7, size])
        weights[f"r{name}"] = np.array([2, HEADS, 7, size])
    analysis = check_groups(net(body, weights, ends=ends, opset=17), Options(split=split))
    assert sorted(sizes(analysis).values(), reverse=True) == expected


# Rotary positions


def rotary(name: str) -> str:
    """x * cos + (-x_upper, x_lower) * sin."""
    return (
        f"{name}l = Slice({name}h, zero, half, last) {name}u = Slice({name}h, half, end, last) {name}n = Neg({name}u)"
        f" {name}c = Concat<axis=-1>({name}n, {name}l) {name}s = Mul({name}c, sin) {name}o = Mul({name}h, cos)"
        f" {name}p = Add({name}o, {name}s) "
    )


def angles(tokens: int = 7, times: int = 2) -> dict[str, np.ndarray]:
    half = np.outer(np.arange(tokens), 10.0 ** -np.arange(SIZE // 2)).astype(np.float32)
    return {"cos": np.cos(np.tile(half, times)), "sin": np.sin(np.tile(half, times))}


ROTATED = (
    f"{PROJECTIONS} {split_heads('q')} {split_heads('k')} {split_heads('v')} {rotary('q')} {rotary('k')}"
    f" kt = Transpose<perm=[0,1,3,2]>(kp) {PARTS.replace('Mul(qh, root)', 'Mul(qp, root)')}"
)
ENDS = {"zero": [0], "half": [SIZE // 2], "end": [2**40], "last": [-1]}


def test_rotary_pairs_in_parts() -> None:
    """Pitfall 10: coordinate i of a head turns with i + size / 2, and goes with it."""
    ends = "g (float[2,7,6] x) => (float[2,7,5] y)"
    weights = stored() | angles() | {name: np.array(value) for name, value in ENDS.items()}
    model = net(ROTATED, weights, ends=ends, opset=17)
    analysis = check_groups(model)
    assert sizes(analysis) == {"q +1": SIZE // 2, "v": VALUE}
    pairs = analysis.positions(analysis.group("q +1"), Use("q", 1, 1))
    assert pairs[1].tolist() == [1, 4, 7, 10, 13, 16, 19, 22]
    assert sizes(check_groups(model, Options(split="outer"))) == {"q +2": HEADS}


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("turned", [0, 4])
@pytest.mark.parametrize("split", ["inner", "outer"])
def test_rotary_embedding(interleaved: int, turned: int, split: Split) -> None:
    ends = "g (float[2,7,6] x, int64[2,7] at) => (float[2,7,5] y)"
    attributes = f"interleaved={interleaved},num_heads={HEADS},rotary_embedding_dim={turned}"
    turn = "".join(f"{n}r = RotaryEmbedding<{attributes}>({n}, cos, sin, at) " for n in "qk")
    counts = f"q_num_heads={HEADS},kv_num_heads={HEADS}"
    body = f"{PROJECTIONS} {turn} o = Attention<{counts}>(qr, kr, v) y = MatMul(o, w)"
    half = {name: values[:, : (turned or SIZE) // 2] for name, values in angles(times=1).items()}
    analysis = check_groups(net(body, stored() | half, ends=ends, opset=23), Options(split=split))
    if split == "outer":
        assert list(sizes(analysis).values()) == [HEADS]
        return
    pairs = analysis.group("q +1")
    assert pairs.size == (turned or SIZE) // 2
    distance = 1 if interleaved else (turned or SIZE) // 2
    first = analysis.positions(pairs, Use("q", 1, 1))[0]
    assert first[1] - first[0] == distance
    assert sum(size for name, size in sizes(analysis).items() if name != "v") == (
        3 if not turned else 2 + SIZE - turned
    )


def test_rotary_embedding_with_an_axis_of_heads() -> None:
    ends = "g (float[2,7,6] x) => (float[2,7,5] y)"
    parts = "".join(map(split_heads, "qkv")) + "".join(f"{n}r = RotaryEmbedding({n}h, cos, sin) " for n in "qk")
    body = f"{PROJECTIONS} {parts} m = Attention(qr, kr, vh) {OPERATOR}"
    half = {name: np.broadcast_to(values, (2, *values.shape)).copy() for name, values in angles(times=1).items()}
    analysis = check_groups(net(body, stored() | half, ends=ends, opset=23))
    assert sizes(analysis) == {"q +1": SIZE // 2, "v": VALUE}


def test_a_gated_perceptron() -> None:
    """Pitfall 17: SwiGLU; the two branches that are multiplied go together."""
    body = "g1 = MatMul(x, a) u = MatMul(x, b) s = Sigmoid(g1) z = Mul(g1, s) m = Mul(z, u) y = MatMul(m, w)"
    analysis = check_groups(net(body, opset=17, a=weight(6, 8), b=weight(6, 8, seed=1), w=weight(8, 5), ends=TOKENS))
    assert sizes(analysis) == {"g1 +1": 8}


def test_squeeze_and_excite() -> None:
    """Pitfall 17: the gate of a channel goes with it; the squeezed channels are a group of their own."""
    ends = "g (float[b,3,6,6] x) => (float[b,5,6,6] y)"
    body = (
        "h = Conv(x, a) p = GlobalAveragePool(h) q = Conv(p, b) r = Relu(q) e = Conv(r, c) s = HardSigmoid(e)"
        " m = Mul(h, s) y = Conv(m, w)"
    )
    weights = {"a": weight(8, 3, 1, 1), "b": weight(4, 8, 1, 1), "c": weight(8, 4, 1, 1), "w": weight(5, 8, 1, 1)}
    assert sizes(check_groups(net(body, weights, ends=ends, opset=17))) == {"h +1": 8, "q": 4}
