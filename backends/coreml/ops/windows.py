"""Windows that slide over spatial axes, in the form that MIL has for their padding."""

from __future__ import annotations

from pruna_ir.backends.coreml.op import Op
from pruna_ir.backends.windows import Windows, windows_of


def custom_padding(op: Op, kernel: tuple[int, ...]) -> list[int]:
    """Padding before and after every axis, in turn; shapes may be open if the node says it in numbers."""
    pads = op.attr("pads")
    if op.attr("auto_pad", "NOTSET") in ("NOTSET", "") and pads is not None:
        return interleaved(pads[: len(pads) // 2], pads[len(pads) // 2 :])
    if op.attr("auto_pad", "NOTSET") in ("NOTSET", "", "VALID"):
        return [0] * (2 * len(kernel))
    windows: Windows = windows_of(op, kernel)
    return interleaved(windows.before, windows.after)


def interleaved(before: list[int] | tuple[int, ...], after: list[int] | tuple[int, ...]) -> list[int]:
    """Two lists as pairs, one after the other."""
    return [int(number) for pair in zip(before, after, strict=True) for number in pair]
