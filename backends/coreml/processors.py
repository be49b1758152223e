"""Which operators of a package will not run on the Neural Engine, as far as that is documented.

Core ML decides on the device, by its chip and system. Nothing here is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pruna_ir.backends.coreml.evaluate.package import Package
from pruna_ir.backends.coreml.evaluate.program import every_op
from pruna_ir.remarks import Reason, Remark, RemarkKind

_APPLE_TYPES = "https://apple.github.io/coremltools/docs-guides/source/typed-execution.html"
_APPLE_RANGES = "https://developer.apple.com/forums/thread/724930"
_ENGINE_GUIDE = "https://ane-guide.readthedocs.io/en/latest/part-1-machine/04-capability-surface.html"
_ENGINE_TYPES = "https://aneforge.readthedocs.io/en/latest/capabilities/"
# Operators that move or name values and compute nothing, or only at loading.
_FREE = frozenset({"const", "identity", "cast", "reshape", "squeeze", "expand_dims", "transpose", "shape"})


_NOWHERE = frozenset(
    {"lstm", "gru", "rnn", "reduce_prod", "cond", "while_loop", "non_zero", "non_maximum_suppression", "argsort"}
)


@dataclass(frozen=True)
class Rule:
    """What keeps an operator off the Neural Engine, and where that is written."""

    reason: str
    source: str
    concerns: Callable[[Any], bool]


RULES = (
    Rule(
        "has no implementation there",
        _ENGINE_GUIDE,
        lambda op: op.op_type in _NOWHERE or op.op_type.startswith("scatter"),
    ),
    Rule(
        "convolves over three axes",
        _ENGINE_GUIDE,
        lambda op: op.op_type in ("conv", "conv_transpose") and len(op.inputs["weight"].shape) == 5,
    ),
    Rule("computes in 32-bit integers", _ENGINE_TYPES, lambda op: op.op_type not in _FREE and _writes(op, "int32")),
    Rule("computes in 32-bit floats", _APPLE_TYPES, lambda op: op.op_type not in _FREE and _floats(op)),
)


def remarks(package: Package) -> list[Remark]:
    """What will leave the Neural Engine, by the first rule that concerns it."""
    operators = [op for op in every_op(package.program.functions["main"]) if not op.op_type.startswith("const")]
    left: dict[Rule, Counter[str]] = {}
    for op in operators:
        rule = next((rule for rule in RULES if rule.concerns(op)), None)
        if rule is not None:
            left.setdefault(rule, Counter())[op.op_type] += 1
    found = [_remark(f"{_named(names)} {rule.reason}", rule.source) for rule, names in left.items()]
    ranges = list(_ranges(package.spec))
    if ranges:
        names = ", ".join(f"`{name}`" for name in ranges)
        found.append(_remark(f"other shapes of {names} than the default, since its axes have ranges", _APPLE_RANGES))
    return found


def _remark(what: str, source: str) -> Remark:
    reason = Reason("not on the Neural Engine, by the documentation and not measured: {} ({})", what, source)
    return Remark(RemarkKind.ANALYSIS, "coreml", "", reason)


def _named(names: Counter[str]) -> str:
    return ", ".join(f"{count} `{name}`" if count > 1 else f"`{name}`" for name, count in sorted(names.items()))


def _ranges(spec: Any) -> Iterator[str]:
    """Inputs whose axes may have any size between bounds."""
    for item in spec.description.input:
        kind = item.type.WhichOneof("Type")
        flexible = getattr(item.type, kind).WhichOneof(
            "ShapeFlexibility" if kind == "multiArrayType" else "SizeFlexibility"
        )
        if flexible in ("shapeRange", "imageSizeRange"):
            yield str(item.name)


def _writes(op: Any, *names: str) -> bool:
    from coremltools.converters.mil.mil import types

    return any(types.builtin_to_string(var.dtype) in names for var in op.outputs if hasattr(var, "dtype"))


def _floats(op: Any) -> bool:
    """Whether it reads or writes 32-bit floats that are not constants."""
    from coremltools.converters.mil.mil import types

    read = [var for var in op.get_flattened_inputs() if var.op is None or not var.op.op_type.startswith("const")]
    return any(getattr(var, "dtype", None) == types.fp32 for var in (*read, *op.outputs))
