"""The rule of Einsum: its equation is a signature."""

from __future__ import annotations

from collections import Counter

from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.rule import AxisRule
from pruna_ir.analysis.axes.signature import Signature
from pruna_ir.remarks import Reason

_ELLIPSIS = "..."


def _einsum(at: NodeAxes) -> Reason | None:
    return Signature(signature_of(at.node.attrs["equation"]))(at)


def signature_of(equation: str) -> str:
    """The signature of an equation: `bij,bjk->bik` is `A0[b i j] A1[b j k] -> Y[b i k]`.

    Without an arrow the output has what stands in one place only, in alphabetical order, behind the ellipsis.
    """
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    if not arrow:
        counts = Counter(inputs.replace(",", "").replace(".", ""))
        output = (_ELLIPSIS if _ELLIPSIS in inputs else "") + "".join(sorted(x for x in counts if counts[x] == 1))
    operands = [f"A{number}[{_terms(operand)}]" for number, operand in enumerate(inputs.split(","))]
    return f"{' '.join(operands)} -> Y[{_terms(output)}]"


def _terms(operand: str) -> str:
    first, ellipsis, rest = operand.partition(_ELLIPSIS)
    return " ".join([*first, *([ellipsis] if ellipsis else []), *rest])


RULES: dict[str, AxisRule] = {"Einsum": AxisRule(_einsum)}
