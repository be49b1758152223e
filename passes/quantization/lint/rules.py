"""The linter's rules: each finds one way in which a Q/DQ graph is not what a target takes, or not what it runs fast.

A rule is a function from the view of a graph to findings, and reads everything that it demands from the target's table.
Rule names are stable: they stand in front of each remark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, INTEGER_OPS, QUANTIZE, params_of, writer_of
from pruna_ir.model.invariants import node_name
from pruna_ir.passes.quantization.kernel import weight_bits
from pruna_ir.passes.quantization.lint.view import QdqView, equal
from pruna_ir.remarks import Reason
from pruna_ir.targets import Company, Output, Scales

# How far a bias's scale may be from the product that it stands for: both are rounded to float32.
_ROUNDING = 1e-6

Findings = Iterator[tuple[gs.Node, Reason]]


@dataclass(frozen=True)
class LintRule:
    """A rule of the linter. What an `advice` finds is legal, but slower or less accurate than it could be."""

    name: str
    check: Callable[[QdqView], Findings]
    advice: bool = False


def _integer_op(view: QdqView) -> Findings:
    for node in view.graph.nodes:
        if not view.target.integer_ops and (node.op in INTEGER_OPS or node.op.startswith("QLinear")):
            yield node, Reason("{} is not known there: integers are written as Q/DQ around float operators", node.op)


def _computed_scale(view: QdqView) -> Findings:
    for op in (QUANTIZE, DEQUANTIZE):
        for node in view.nodes(op):
            if not node.attrs.get("block_size", 0) and params_of(node) is None:
                yield node, Reason("its scale or zero point is not a constant, or not of integers")


def _scale_value(view: QdqView) -> Findings:
    for op in (QUANTIZE, DEQUANTIZE):
        for node in view.nodes(op):
            found = params_of(node)
            if found is not None and not (np.isfinite(found.scale) & (found.scale > 0)).all():
                yield node, Reason("its scale is {:g}, and must be a positive number", found.scale.min())


def _unpaired(view: QdqView) -> Findings:
    for node in view.nodes(QUANTIZE):
        others = [reader for reader in node.outputs[0].outputs if reader.op != DEQUANTIZE]
        if any(id(reader) in view.own and reader.op not in INTEGER_OPS for reader in others):
            yield node, Reason("{} reads its integers, not a DequantizeLinear", others[0].op)
    for node in view.nodes(DEQUANTIZE):
        read = node.inputs[0]
        writer = writer_of(read)
        known = writer is not None and (writer.op == QUANTIZE or writer.op in INTEGER_OPS)
        if not (known or isinstance(read, gs.Constant) or id(read) in view.inputs):
            yield node, Reason("no QuantizeLinear writes what it reads")


def _pair(view: QdqView) -> Findings:
    for node in view.nodes(DEQUANTIZE):
        writer = writer_of(node.inputs[0])
        if writer is not None and writer.op == QUANTIZE and not equal(params_of(writer), params_of(node)):
            yield node, Reason("its scale or zero point is not that of `{}`, which it undoes", node_name(writer))


def _activation_dtype(view: QdqView) -> Findings:
    accepted = {*(dtype.name for dtype in view.tables), *view.target.accepts}
    for node in view.nodes(QUANTIZE):
        found = params_of(node)
        if found is not None and found.zero_point.dtype.name not in accepted:
            yield node, Reason("activations are {}, not {}", " or ".join(sorted(accepted)), found.zero_point.dtype.name)


def _weight_dtype(view: QdqView) -> Findings:
    for kernel in view.kernels:
        if kernel.weight is not None and kernel.weight.constant.dtype != view.target.weights.dtype:
            name, found = kernel.weight.constant.name, kernel.weight.constant.dtype
            yield kernel.node, Reason("its weight `{}` is {}, not {}", name, found, view.target.weights.dtype)


def _activation_zero_point(view: QdqView) -> Findings:
    for node in view.nodes(QUANTIZE):
        found = params_of(node)
        if view.scheme(node).symmetric and found is not None and found.zero_point.any():
            yield node, Reason("its zero point is {}, and must be 0", found.zero_point.reshape(-1)[0])


def _weight_zero_point(view: QdqView) -> Findings:
    for kernel in view.kernels:
        found = params_of(kernel.weight.dequantize) if kernel.weight is not None else None
        if view.target.weights.symmetric and found is not None and found.zero_point.any():
            yield kernel.node, Reason("its weight has a zero point of {}, and must have 0", found.zero_point.max())


def _activation_axis(view: QdqView) -> Findings:
    for node in view.nodes(QUANTIZE):
        found = params_of(node)
        if isinstance(node.inputs[0], gs.Constant):  # a weight that is rounded when the model is loaded
            continue
        if found is not None and found.axis is not None:
            yield node, Reason("an activation has {} scales, and may have one", found.scale.size)


def _weight_axis(view: QdqView) -> Findings:
    for kernel in view.kernels:
        if kernel.weight is None:
            continue
        found = params_of(kernel.weight.dequantize)
        if found is None or found.axis is None:
            continue
        axis = found.axis % len(kernel.weight.constant.shape)
        if axis != kernel.weight_axis:
            reason = "its weight has a scale for each index of axis {}, not of axis {}, where its outputs lie"
            yield kernel.node, Reason(reason, axis, kernel.weight_axis)


def _weight_range(view: QdqView) -> Findings:
    for kernel in view.kernels:
        if kernel.weight is None or not kernel.weight.constant.values.size:
            continue
        values = kernel.weight.constant.values
        scheme = replace(view.target.weights, bits=weight_bits(kernel.node, values.shape, view.target))
        if values.min() < scheme.lowest or values.max() > scheme.highest:
            found = int(values.min()), int(values.max())
            yield kernel.node, Reason("its weight holds {}..{}, beyond {}..{}", *found, scheme.lowest, scheme.highest)


def _integer_bias(view: QdqView) -> Findings:
    for kernel in view.kernels:
        if kernel.bias is not None and np.dtype(view.target.bias_dtype).kind == "f":
            yield kernel.node, Reason("its bias `{}` is in integers, and must be in float", kernel.bias.constant.name)


def _bias_scale(view: QdqView) -> Findings:
    for kernel in view.kernels:
        if kernel.bias is None or kernel.weight is None or np.dtype(view.target.bias_dtype).kind == "f":
            continue
        bias, weight = params_of(kernel.bias.dequantize), params_of(kernel.weight.dequantize)
        data = kernel.input_params[0] if kernel.input_params else None
        if bias is None or weight is None or data is None:
            continue
        if bias.zero_point.any():
            yield kernel.node, Reason("its bias has a zero point, and must have 0")
        elif bias.scale.size not in (1, weight.scale.size) or not np.allclose(
            bias.scale, data.scale.astype(np.float64) * weight.scale, rtol=_ROUNDING, atol=0
        ):
            yield kernel.node, Reason("the scale of its bias is not that of its input times those of its weight")


def _shared_dequantizer(view: QdqView) -> Findings:
    roles = {"weight": view.weights, "bias": view.biases, "activation": view.activations}
    for node in view.nodes(DEQUANTIZE):
        found = [role for role, nodes in roles.items() if id(node) in nodes]
        if len(found) > 1:
            yield node, Reason("it is read as a {} and as an {}: each needs its own", *found[:2])


def _half_quantized(view: QdqView) -> Findings:
    for kernel in view.kernels:
        if kernel.weight is not None and kernel.float_inputs:
            yield kernel.node, Reason("its weight is in integers, but `{}` is not", kernel.float_inputs[0].name)


def _float_output(view: QdqView) -> Findings:
    for kernel in view.quantized:
        if kernel.row.output is Output.REQUIRED and kernel.quantizer is None and not kernel.float_inputs:
            yield kernel.node, Reason("no QuantizeLinear follows it, so it runs in float")


def _equal_scales(view: QdqView) -> Findings:
    for kernel in view.quantized:
        if kernel.row.scales not in (Scales.EQUAL, Scales.MOVED):
            continue
        read = kernel.input_params if kernel.row.scales is Scales.EQUAL else kernel.input_params[:1]
        found = [*read, *kernel.output_params]
        if not all(equal(found[0], other) for other in found[1:]):
            yield kernel.node, Reason("what it reads and writes has different scales or zero points")


def _one_type(view: QdqView) -> Findings:
    for kernel in view.quantized:
        types = {p.zero_point.dtype.name for p in (*kernel.input_params, *kernel.output_params) if p is not None}
        if len(types) > 1 and len(view.tables) > 1:
            yield kernel.node, Reason("it reads and writes {}: a kernel has one type", " and ".join(sorted(types)))


def _fixed_scale(view: QdqView) -> Findings:
    for kernel in view.quantized:
        if kernel.row.fixed is None:
            continue
        fixed, scheme = kernel.row.fixed, view.table(kernel.node).activations
        for found in kernel.output_params:
            if found is not None and not equal(fixed.params(scheme), found):
                reason = "its output has scale {:.6g} and zero point {}, and must have {:.6g} and {}"
                yield kernel.node, Reason(reason, found.scale, found.zero_point, fixed.scale, fixed.zero_point)


def _useless_pair(view: QdqView) -> Findings:
    readers = {id(dq) for kernel in view.kernels for _, dq in kernel.activations if dq is not None}
    for kernel in view.quantized:
        if kernel.row.output is not Output.FLOAT or not kernel.weighted or kernel.quantizer is None:
            continue
        if not any(id(reader) in readers for reader in kernel.quantizer.outputs[0].outputs):
            yield kernel.node, Reason("its output is rounded, and nothing reads it in integers")


def _narrow(view: QdqView) -> Findings:
    for kernel in view.kernels:
        if kernel.weight is None or kernel.row.widths is None:
            continue
        shape, axis = kernel.weight.constant.shape, kernel.weight_axis
        inputs, outputs = int(shape[1 - axis]) * int(kernel.node.attrs.get("group", 1)), int(shape[axis])
        if not kernel.row.widths.hold(inputs, outputs):
            reason = "with {} input and {} output channels it is slower than in float"
            yield kernel.node, Reason(reason, inputs, outputs)


def _in_float(view: QdqView) -> Findings:
    for kernel in view.kernels:
        if not kernel.quantized and (kernel.weighted or kernel.row.company is Company.NONE):
            yield kernel.node, Reason("it runs in float, and there is an integer kernel for {}", kernel.node.op)


def _no_kernel(view: QdqView) -> Findings:
    for node in view.graph.nodes:
        if node.op in view.target.ops or node.op in (QUANTIZE, DEQUANTIZE) or not node.inputs or not node.outputs:
            continue
        read = [writer_of(tensor) for tensor in node.inputs if not isinstance(tensor, gs.Constant)]
        readers = [reader for tensor in node.outputs for reader in tensor.outputs]
        from_integers = read and all(writer is not None and writer.op == DEQUANTIZE for writer in read)
        if from_integers and readers and all(reader.op == QUANTIZE for reader in readers):
            yield node, Reason("there is no integer kernel for {}: the Q/DQ around it only cost", node.op)


RULES: tuple[LintRule, ...] = (
    LintRule("integer-op", _integer_op),
    LintRule("computed-scale", _computed_scale),
    LintRule("scale-value", _scale_value),
    LintRule("unpaired", _unpaired),
    LintRule("pair-mismatch", _pair),
    LintRule("activation-dtype", _activation_dtype),
    LintRule("weight-dtype", _weight_dtype),
    LintRule("activation-zero-point", _activation_zero_point),
    LintRule("weight-zero-point", _weight_zero_point),
    LintRule("activation-axis", _activation_axis),
    LintRule("weight-axis", _weight_axis),
    LintRule("weight-range", _weight_range),
    LintRule("integer-bias", _integer_bias),
    LintRule("bias-scale", _bias_scale),
    LintRule("shared-dequantizer", _shared_dequantizer),
    LintRule("half-quantized", _half_quantized),
    LintRule("float-output", _float_output),
    LintRule("equal-scales", _equal_scales),
    LintRule("fixed-scale", _fixed_scale),
    LintRule("one-type", _one_type),
    LintRule("useless-pair", _useless_pair, advice=True),
    LintRule("narrow", _narrow, advice=True),
    LintRule("in-float", _in_float, advice=True),
    LintRule("no-kernel", _no_kernel, advice=True),
)
