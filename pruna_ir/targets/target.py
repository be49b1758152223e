"""What a runtime on a device accepts and does fast: the form of the tables that quantization and pruning read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pruna_ir.calibration.scheme import Scheme


class Output(StrEnum):
    """What the integer kernel of an op does with its output."""

    REQUIRED = "required"  # without Q/DQ on its output the op runs in float
    OPTIONAL = "optional"  # the kernel can write float: cheaper and more accurate where float is wanted next
    SAME = "same"  # moves values only: the output has the scale of the input
    UNION = "union"  # joins inputs: the output's range is the union of theirs, and an input with its scale is copied


@dataclass(frozen=True)
class OpRow:
    """How one op is quantized.

    `inputs` are the activation inputs that carry Q/DQ (None: all of them); `weight` and `bias` are the positions of
    those, if the op has them; `bias_added_by` is an op whose constant operand, right behind a kernel that writes float,
    is quantized as its bias (the runtime moves the addition into the kernel, and a float bias makes that one of
    floats). The weight has a scale per index of `weight_axis`, or of axis 0 when the attribute
    named by `transposed_by` is set; it has at most `weight_rank` dimensions (None: any number). `requires` are
    attribute values that the kernel insists on (absent attributes have the op's default, given here; a number stands
    for a list of it as well), `refuses` are those that it lacks. `absorbs` are the ops that disappear into the
    output's quantization when they alone read the output.
    """

    inputs: tuple[int, ...] | None = (0,)
    weight: int | None = None
    weight_axis: int = 0
    weight_rank: int | None = None
    transposed_by: str | None = None
    bias: int | None = None
    bias_added_by: str | None = None
    output: Output = Output.REQUIRED
    absorbs: tuple[str, ...] = ()
    requires: Mapping[str, Any] = field(default_factory=dict)
    refuses: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A runtime on a device, as data.

    `proved_on` names the runtime versions on which the rows were seen to fuse. `stores_weights` says that the runtime
    folds Cast and Mul of a constant at load, so that weights which stay float can be stored in 8 bits for free.
    `slow_ops` are ONNX operators that take longer than the same from simpler ones, or that it cannot run at every
    opset that has them: passes do not make them.
    `channel_multiple` is the alignment that pruning keeps.
    """

    name: str
    description: str
    activations: Scheme
    weights: Scheme
    ops: Mapping[str, OpRow]
    bias_dtype: str = "int32"
    stores_weights: bool = False
    slow_ops: frozenset[str] = frozenset()
    channel_multiple: int = 1
    backend: str = "onnx"
    proved_on: tuple[str, ...] = ()
    runs_on: tuple[str, ...] = ()
