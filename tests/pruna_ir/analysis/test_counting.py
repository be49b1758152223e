from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from pruna_ir.analysis.counting import bytes_on_disk, count_nodes, count_parameters, external_files
from pruna_ir.model import Model

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'


def model(body: str) -> Model:
    return Model.from_text(HEADER + body)


def test_constant_nodes_hold_parameters_and_are_no_nodes() -> None:
    found = model("""
        g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> {
            c = Constant <value = float[2] {3, 4}> ()
            s = Add (x, w)
            y = Mul (s, c)
        }""")
    assert (count_nodes(found), count_parameters(found)) == (2, 4)


def test_shared_constant_counts_once_and_branches_count() -> None:
    found = model("""
        g (float[2] x, bool b) => (float[2] y) <float[2] w = {1, 2}> {
            y = If (b) <
                then_branch = t () => (float[2] u) { u = Add (x, w) },
                else_branch = e () => (float[2] v) <float[2] k = {5, 6}> { a = Mul (w, k)
                    v = Sub (x, a) }
            >
        }""")
    assert (count_nodes(found), count_parameters(found)) == (4, 4)


def test_quantization_parameters_are_counted() -> None:
    found = model("""
        g (float[2] x) => (float[2] y) <int8[2] w = {1, 2}, float s = {0.5}, int8 z = {0}> {
            d = DequantizeLinear (w, s, z)
            y = Add (x, d)
        }""")
    assert count_parameters(found) == 4


def test_bytes_include_external_data(tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 64])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 64])
    graph = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, tmp_path / "whole.onnx")
    path = tmp_path / "split.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="w.bin")
    assert bytes_on_disk(tmp_path / "whole.onnx") == (tmp_path / "whole.onnx").stat().st_size
    assert bytes_on_disk(path) == path.stat().st_size + 64 * 64 * 4
    assert external_files(path) == {tmp_path / "w.bin"}
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a").write_bytes(b"12345")
    assert bytes_on_disk(tmp_path / "package") == 5


@pytest.mark.parametrize(
    ("name", "nodes", "parameters"), [("resnet20_cifar10", 70, 269_080), ("squeezenet11_imagenet", 64, 1_235_496)]
)
def test_real_models(shared: Path, name: str, nodes: int, parameters: int) -> None:
    found = Model.load(shared / "models" / f"{name}.onnx")
    assert (count_nodes(found), count_parameters(found)) == (nodes, parameters)
