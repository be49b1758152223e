"""What a runtime on a device accepts and does fast: the form of the tables that quantization and pruning read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from pruna_ir.calibration.scheme import QuantParams, Scheme


class Output(StrEnum):
    """What an integer kernel writes."""

    REQUIRED = "required"  # integers: without Q/DQ on its output the op runs in float
    OPTIONAL = "optional"  # integers or float: float is cheaper and more accurate where float is wanted next
    FLOAT = "float"  # the Q of what comes next is moved into the kernel by the runtime, if there is one


class Scales(StrEnum):
    """How the scales of what a kernel reads and writes depend on each other."""

    FREE = "free"  # each tensor has its own
    MOVED = "moved"  # the kernel moves values only: the output has the scale of the first input
    UNION = "union"  # the output's range is the union of the inputs', and an input with its scale is copied
    EQUAL = "equal"  # all inputs and the output have one scale


class Company(StrEnum):
    """Which neighbours an op without weights needs to run in integers: alone it pays for conversions, wins nothing."""

    BOTH = "both"  # an integer kernel before it, and one behind it
    READER = "reader"  # an integer kernel behind it
    NONE = "none"  # it runs in integers wherever it stands


@dataclass(frozen=True)
class Fixed:
    """The only scale and zero point that a kernel writes."""

    scale: float
    zero_point: int

    def params(self, scheme: Scheme) -> QuantParams:
        """Scale and zero point as arrays of the types that ONNX wants."""
        return QuantParams(np.array(self.scale, np.float32), np.array(self.zero_point, scheme.dtype))


@dataclass(frozen=True)
class Widths:
    """The numbers of input and output channels below which an integer kernel is slower than the float one.

    Both are at least `least`; where `multiple` is given, one may be smaller if either is a multiple of it.
    """

    least: int
    multiple: int | None = None

    def hold(self, inputs: int, outputs: int) -> bool:
        """Whether the kernel is wide enough."""
        if self.multiple is None or max(inputs, outputs) < self.least:
            return min(inputs, outputs) >= self.least
        return min(inputs, outputs) >= self.least or not (inputs % self.multiple and outputs % self.multiple)


@dataclass(frozen=True)
class OpRow:
    """How one op is quantized.

    `inputs` are the activation inputs that carry Q/DQ (None: all of them); `weight` is the position of the weight,
    `bias` that of a bias that is quantized, if the op has them (a bias without a position stays in float);
    `bias_added_by` is an op whose constant operand, right behind a kernel that writes float, is quantized as its bias
    (the runtime moves the addition into the kernel, and a float bias makes that one of floats). The weight has a scale
    per index of `weight_axis`, or of axis 0 when the attribute named by `transposed_by` is set; it has at most
    `weight_rank` dimensions (None: any number). `widths` are the channels that the kernel needs to pay.

    `output` says what the kernel writes, and `all_outputs` that it writes more than the first output; `scales` says how
    its scales hang together, `fixed` is the only scale it writes.
    `ends_kernel` is for an op that runs as the end of a kernel with weights, which writes one of its inputs for it
    alone: that input stays in float, and without such a kernel the op does.

    `requires` are attribute values that the kernel insists on (absent attributes have the op's default, given here; a
    number stands for a list of it as well), `refuses` are those that it lacks, `constants` are inputs that, where they
    are given, must be this constant. `absorbs` are the activation functions that become part of the kernel when they
    alone read the output: a Relu or Clip disappears where the output's range ends where it clips.
    """

    inputs: tuple[int, ...] | None = (0,)
    weight: int | None = None
    weight_axis: int = 0
    weight_rank: int | None = None
    transposed_by: str | None = None
    bias: int | None = None
    bias_added_by: str | None = None
    widths: Widths | None = None
    output: Output = Output.REQUIRED
    all_outputs: bool = False
    scales: Scales = Scales.FREE
    fixed: Fixed | None = None
    ends_kernel: bool = False
    company: Company = Company.BOTH
    absorbs: tuple[str, ...] = ()
    requires: Mapping[str, Any] = field(default_factory=dict)
    refuses: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """A runtime on a device, as data.

    `accepts` are the integer types that activations may have, beside that of `activations`. `bias_dtype` is the type
    of biases (a float type: they stay as they are). `depthwise_bits` are the bits that weights of depthwise
    convolutions may use where others leave some out, because two of their products are added in a narrow type.
    `integer_ops` says that the runtime knows the operators in which ONNX writes integer kernels directly (QLinearConv,
    MatMulInteger).
    `runtime` is what runs the models, `proved_on` names its versions on which the rows were seen to become integer
    kernels, `runs_on` the kinds of host. `stores_weights` says that the runtime folds Cast and Mul of a constant at
    load, so that weights which stay float can be stored in 8 bits for free. `slow_ops` are ONNX operators that take
    longer than the same from simpler ones, or that it cannot run at every opset that has them: passes do not make them.
    `half_ops` are, for each 16-bit float type, the ops that the target computes in it (a type that is not there: all
    that ONNX lets have it).
    `answers_in_float` leaves in float what has no weights and would be the last to round a model's answer; false where
    the way back to float before it costs more than it wins.
    `channel_multiple` is the alignment that pruning keeps. `wider` names the table of the same runtime for activations
    of 16 bits, if it has kernels for them.
    """

    name: str
    description: str
    activations: Scheme
    weights: Scheme
    ops: Mapping[str, OpRow]
    accepts: tuple[str, ...] = ()
    bias_dtype: str = "int32"
    depthwise_bits: int | None = None
    integer_ops: bool = False
    stores_weights: bool = False
    slow_ops: frozenset[str] = frozenset()
    half_ops: Mapping[str, frozenset[str]] = field(default_factory=dict)
    answers_in_float: bool = False
    channel_multiple: int = 1
    backend: str = "onnx"
    runtime: str = ""
    proved_on: tuple[str, ...] = ()
    runs_on: tuple[str, ...] = ()
    wider: str = ""
