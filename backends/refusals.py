"""Operators of ONNX that no operator of a runtime, and no few of them, can stand for: why, and what to do."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pruna_ir.backends.unsupported import Unsupported, qualified
from pruna_ir.passes.decomposition.decompose import why_not

_CONTROL_FLOW = "control flow is not written"
_OPEN_SIZE = "how large its result is depends on the values, and a file has fixed shapes"
_TEXT = "it works on text"
_RANDOM = "its results are random"
_FIX = "what decides must be a constant: `simplify` then takes the branch, or writes the loop out"
_CUT = "end the model before it, and do the rest in the application"

_REASONS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("If", "Loop", "Scan"), (_CONTROL_FLOW, _FIX)),
    **dict.fromkeys(("NonZero", "NonMaxSuppression", "Unique", "Compress"), (_OPEN_SIZE, _CUT)),
    **dict.fromkeys(
        ("StringConcat", "StringSplit", "StringNormalizer", "RegexFullMatch", "TfIdfVectorizer"), (_TEXT, _CUT)
    ),
    **dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"),
        (_RANDOM, "give the numbers to the model as an input"),
    ),
}
_SEQUENCES = "it works on sequences of tensors"


def refusal(node: gs.Node, runtime: str) -> Unsupported:
    """What to say of a node whose operator the table of a back end does not have."""
    op = qualified(node)
    if op.startswith("Sequence") or op in ("ConcatFromSequence", "SplitToSequence"):
        return Unsupported(_SEQUENCES, "write Concat and Split instead")
    if "." in op:
        domain, _, name = op.rpartition(".")
        return Unsupported(f"{name} of the domain `{domain}` is not known", "export the model without it")
    if op in _REASONS:
        return Unsupported(*_REASONS[op])
    obstacle = why_not(node)
    missing = f"{runtime} has no operator for {op}"
    return Unsupported(f"{missing}, and it cannot be written in others: {obstacle}" if obstacle else missing)
