"""Layers whose weights can be set, and the rows of what they read and write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from small_graphs import build, conv, small_net, weights

from pruna_ir.model import Model
from pruna_ir.passes.pruning.reconstruction import sites
from pruna_ir.passes.pruning.reconstruction.edits import write
from pruna_ir.passes.pruning.reconstruction.sites import Site, Slot, site_of, sites_in
from pruna_ir.remarks import Reason
from pruna_ir.runtime.capture import with_outputs
from pruna_ir.runtime.session import Session

NODE = onnx.helper.make_node
IMAGE: dict[str, Sequence[int | str]] = {"x": ["n", 6, 9, 8]}
VECTORS: dict[str, Sequence[int | str]] = {"x": ["n", 7, 6]}


def convolution(shape: tuple[int, ...], **attributes: Any) -> Model:
    constants = {"w": weights(0, *shape), "b": weights(1, shape[0])}
    return build([conv("y", "x", "w", "b", **attributes)], IMAGE, ["y"], constants)


def product(node: onnx.NodeProto, shape: list[int | str], *more: onnx.NodeProto) -> Model:
    constants = {"w": weights(0, 6, 4), "v": weights(1, 4, 6), "b": weights(2, 4), "u": weights(3, 5, 7)}
    used = {name for one in [node, *more] for name in one.input}
    return build([node, *more], {"x": shape}, ["y"], {k: v for k, v in constants.items() if k in used})


LAYERS = {
    "conv": convolution((4, 6, 3, 3), pads=[1, 1, 1, 1]),
    "strided": convolution((4, 6, 3, 2), pads=[1, 0, 0, 1], strides=[2, 3]),
    "dilated": convolution((4, 6, 2, 3), dilations=[2, 1]),
    "grouped": convolution((4, 3, 3, 3), group=2, auto_pad="SAME_LOWER", strides=[2, 2]),
    "depthwise": convolution((12, 1, 3, 3), group=6),
    "gemm": product(NODE("Gemm", ["x", "w", "b"], ["y"]), ["n", 6]),
    "gemm transB": product(NODE("Gemm", ["x", "v", "b"], ["y"], transB=1), ["n", 6]),
    "gemm transA": product(NODE("Gemm", ["x", "w", "b"], ["y"], transA=1), [6, "n"]),
    "gemm without bias": product(NODE("Gemm", ["x", "w"], ["y"]), ["n", 6]),
    "matmul": product(NODE("MatMul", ["x", "w"], ["y"]), ["n", 7, 6]),
    "matmul of a constant": product(NODE("MatMul", ["u", "x"], ["y"]), ["n", 7, 6]),
    "matmul with bias": product(NODE("MatMul", ["x", "w"], ["p"]), ["n", 7, 6], NODE("Add", ["b", "p"], ["y"])),
}


def only_site(model: Model) -> Site:
    (site,) = sites_in(model.graph).values()
    return site


def feed(model: Model) -> dict[str, np.ndarray]:
    shape = [size if isinstance(size, int) else 5 for size in model.inputs()[0].shape]
    return {"x": weights(7, *shape)}


@pytest.mark.parametrize("most", [10, 17, 10_000])
@pytest.mark.parametrize("model", LAYERS.values(), ids=LAYERS)
def test_rows_of_inputs_and_outputs_belong_together(model: Model, most: int) -> None:
    site, feeds = only_site(model), feed(model)
    outputs = Session(model).run(feeds)["y"]
    assert site.written == "y"
    for number in (0, 3):
        rows, found = site.rows(feeds["x"], number, most), site.outputs(outputs, number, most)
        assert rows.shape[:2] == found.shape[:2] and rows.shape[1] < most + 20
        np.testing.assert_allclose(rows @ site.matrix.transpose(0, 2, 1) + site.bias[:, None], found, atol=1e-5)


@pytest.mark.parametrize("model", LAYERS.values(), ids=LAYERS)
def test_edits_set_weights_and_bias(model: Model) -> None:
    """The same values give the same model; other values what they say."""
    site, feeds = only_site(model), feed(model)
    before = Session(model).run(feeds)["y"]
    room = site.bias_slot is not None
    edits = site.edits(site.matrix * 2, site.bias * 2 + room)
    wanted = before * 2 + room
    changed = model.clone()
    write(changed, edits)
    np.testing.assert_allclose(Session(changed).run(feeds)["y"], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(Session(model).run(feeds)["y"], before)


def test_other_readers_of_a_constant_keep_it() -> None:
    model = build(
        [conv("a", "x", "w"), conv("b", "x", "w"), NODE("Add", ["a", "b"], ["y"])],
        IMAGE,
        ["y"],
        {"w": weights(0, 4, 6, 1, 1)},
    )
    feeds = feed(model)
    one = Session(with_outputs(model, ["a"])).run(feeds)["a"]
    site = sites_in(model.graph)["a"]
    write(model, site.edits(site.matrix * 3, site.bias))
    np.testing.assert_allclose(Session(model).run(feeds)["y"], 4 * one, rtol=1e-4)


def test_what_is_no_site() -> None:
    cases = {
        "Relu is no product": build([NODE("Relu", ["x"], ["y"])], VECTORS, ["y"], {}),
        "Gemm has factors": product(NODE("Gemm", ["x", "w"], ["y"], alpha=2.0), ["n", 6]),
        "`c` is no bias of 4 channels": build(
            [NODE("Gemm", ["x", "w", "c"], ["y"])], {"x": [3, 6]}, ["y"], {"w": weights(0, 6, 4), "c": weights(1, 3, 4)}
        ),
        "`c` is not a constant": build(
            [NODE("Relu", ["z"], ["c"]), NODE("Gemm", ["x", "w", "c"], ["y"])],
            {"x": [3, 6], "z": [4]},
            ["y"],
            {"w": weights(0, 6, 4)},
        ),
    }
    for reason, model in cases.items():
        found = site_of(model.graph.nodes[-1])
        assert isinstance(found, Reason) and reason in str(found)


def test_too_wide_a_layer_is_not_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sites, "MOST_BYTES", 50_000)
    assert sites_in(small_net().graph).keys() == {"c1", "y"}


def test_a_sum_that_is_no_bias_is_left_alone() -> None:
    """Positions differ, or somebody else reads the product."""
    matmul = NODE("MatMul", ["x", "w"], ["p"])
    for add, more in [("c", []), ("b", [NODE("Relu", ["p"], ["z"])])]:
        model = build(
            [matmul, NODE("Add", ["p", add], ["y"]), *more],
            VECTORS,
            ["y", *(one.output[0] for one in more)],
            {"w": weights(0, 6, 4), "b": weights(1, 4), "c": weights(1, 7, 4)},
        )
        site = sites_in(model.graph)["p"]
        assert site.bias_slot is None and site.written == "p" and not site.bias.any()


def test_slots_of_a_network() -> None:
    found = sites_in(small_net().graph)
    assert {key: (site.weight_slot, site.bias_slot) for key, site in found.items()} == {
        "c1": (Slot("c1", 1), Slot("c1", 2)),
        "c2": (Slot("c2", 1), Slot("c2", 2)),
        "y": (Slot("y", 1), Slot("y", 2)),
    }
