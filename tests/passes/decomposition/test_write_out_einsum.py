"""Einsum as products of matrices, against ONNX Runtime's Einsum."""

from __future__ import annotations

import pytest
from onnx_text import model_from

from pruna_ir.model import Model
from pruna_ir.passes.decomposition.write_out_einsum import WriteOutEinsum
from pruna_ir.testing import check_pass, missed, ops


def einsum(equation: str, *shapes: str, dtype: str = "float", result: str = "") -> Model:
    """One Einsum of inputs of these shapes."""
    names = [f"x{number}" for number in range(len(shapes))]
    inputs = ", ".join(f"{dtype}[{shape}] {name}" for name, shape in zip(names, shapes, strict=True))
    call = f'Einsum<equation="{equation}">({", ".join(names)})'
    return model_from(f"g ({inputs}) => ({dtype}[{result}] y) {{ y = {call} }}")


@pytest.mark.parametrize(
    ("equation", "shapes", "result", "expected"),
    [
        ("ij,jk->ik", ["2,3", "3,4"], "2,4", ["MatMul"]),
        ("ij,jk", ["2,3", "3,4"], "2,4", ["MatMul"]),
        ("ij,kj->ik", ["2,3", "4,3"], "2,4", ["Transpose", "MatMul"]),
        ("bij,bjk->bik", ["5,2,3", "5,3,4"], "5,2,4", ["MatMul"]),
        (
            "bqhd,bkhd->bhqk",
            ["2,3,4,5", "2,6,4,5"],
            "2,4,3,6",
            ["Transpose", "Reshape", "Transpose", "Reshape", "MatMul", "Reshape"],
        ),
        ("i,j->ij", ["3", "4"], "3,4", ["Reshape", "Reshape", "Mul"]),
        ("ij,ij->ij", ["3,4", "3,4"], "3,4", ["Mul"]),
        ("ij->ji", ["3,4"], "4,3", ["Transpose"]),
        ("ij->", ["3,4"], "", ["ReduceSum"]),
        ("ij->i", ["3,4"], "3", ["ReduceSum"]),
        ("ii->i", ["3,3"], "3", ["Reshape", "Gather"]),
        ("ii->", ["3,3"], "", ["Reshape", "Gather", "ReduceSum"]),
        ("iij->ij", ["3,3,2"], "3,2", ["Reshape", "Gather"]),
        ("i,i->", ["3", "3"], "", ["Reshape", "Reshape", "MatMul", "Reshape"]),
        ("...ij,...jk->...ik", ["5,2,3", "5,3,4"], "5,2,4", ["MatMul"]),
        ("...ij,jk->...ik", ["6,5,2,3", "3,4"], "6,5,2,4", ["Reshape", "MatMul", "Reshape"]),
        ("...i,...i->...i", ["4,3", "1,3"], "4,3", None),
        ("ij,jk,kl->il", ["2,3", "3,4", "4,5"], "2,5", ["MatMul", "MatMul"]),
        ("ik,jkl,il->ij", ["2,3", "4,3,5", "2,5"], "2,4", None),
        ("ij...->...", ["2,3,4,5"], "4,5", ["ReduceSum"]),
        ("ijk,ijl->kl", ["2,3,4", "2,3,5"], "4,5", None),
        ("a,b,c->abc", ["2", "3", "4"], "2,3,4", None),
    ],
)
def test_equations(equation: str, shapes: list[str], result: str, expected: list[str] | None) -> None:
    after, found = check_pass(WriteOutEinsum(), einsum(equation, *shapes, result=result))
    assert found.counts == {"write-out-einsum": 1}
    assert expected is None or ops(after) == expected


def test_integers() -> None:
    after, _ = check_pass(WriteOutEinsum(), einsum("ij,jk->ik", "2,3", "3,4", dtype="int32", result="2,4"))
    assert ops(after) == ["MatMul"]


def test_unknown_shapes_stay() -> None:
    after, result = check_pass(WriteOutEinsum(), einsum("ij,jk->ik", "n,3", "3,4", result="n,4"))
    assert ops(after) == ["Einsum"]
    assert missed(result) == ["the shape of `x0` is not known"]
