"""The float model that a quantized one stands for: what is left when its Q/DQ are taken out."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.diagnosis.dynamic_products import DynamicProduct, dynamic_products
from pruna_ir.analysis.qdq import Pair, integer_limits, pairs, params_of, stored, writer_of
from pruna_ir.model import Model
from pruna_ir.pipeline.rewriter import Rewriter, redirect

# Ops into whose integer kernels other tools absorb a Relu: the pair behind them then starts at zero.
_ABSORBING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul"})
# Where the other activation functions that quantizers absorb end.
_CEILINGS = (6.0,)


def float_form(model: Model) -> Model:
    """A copy of `model` without its Q/DQ pairs, with its stored constants and its products in integers in float.

    Tensors keep the names they have before their pairs, graph outputs those they have behind. Where a pair begins at
    zero right behind an op that can give less, there is a Relu in the copy, and a Clip where it ends at 6:
    quantizers leave those to the saturation. What it cannot know is what the weights were before they were rounded.
    """
    form = model.clone()
    rewriter = Rewriter(form.graph)
    for pair in list(pairs(form.graph)):
        _bypass(pair, form.graph, rewriter)
    for product in list(dynamic_products(form.graph)):
        _in_float(product, rewriter)
    for node in list(form.graph.nodes):
        inside = stored(node.outputs[0]) if node.outputs else None
        if inside is not None:
            name = node.outputs[0].name
            redirect(node.outputs[0], gs.Constant(rewriter.fresh_name(f"{name}_values"), inside.values()))
    rewriter.commit()
    form.graph.cleanup()
    return form


def _bypass(pair: Pair, graph: gs.Graph, rewriter: Rewriter) -> None:
    """Let what reads the pair's result read what goes in, behind the function that saturation computed."""
    source, result, writer = pair.source, pair.result, writer_of(pair.source)
    limits = _absorbed(pair)
    if limits and writer is not None:
        written = rewriter.variable(f"{source.name}/before_clip", source.dtype, source.shape)
        rewriter.take_over(writer, written)
        clip = gs.Node("Relu", f"{source.name}/clip", {}, [written], [])
        if len(limits) > 1:
            clip.op = "Clip"
            clip.inputs += [rewriter.constant(f"{source.name}/limit", np.array(end, np.float32)) for end in limits]
        clip.outputs.append(source)
        rewriter.insert_after(clip, writer)
    redirect(result, source)
    if any(output is result for output in graph.outputs):
        graph.outputs[:] = [source if output is result else output for output in graph.outputs]
        source.name, result.name = result.name, rewriter.fresh_name(f"{result.name}/unused")


def _in_float(product: DynamicProduct, rewriter: Rewriter) -> None:
    """Compute a product of floats; what computed it in integers is read by nobody any more."""
    node = product.integer
    weight = rewriter.constant(f"{product.product.name}_values", product.values)
    new = rewriter.insert(gs.Node(product.op, node.name, dict(node.attrs), [product.source, weight], []), node)
    product.product.inputs.clear()
    new.outputs.append(product.product)


def _absorbed(pair: Pair) -> tuple[float, ...]:
    """The limits of the Clip (two) or Relu (one) that a pair's saturation seems to compute; nothing if none."""
    writer, params = writer_of(pair.source), params_of(pair.quantize)
    if writer is None or writer.op not in _ABSORBING or params is None or params.scale.ndim:
        return ()
    low, high = integer_limits(params.zero_point.dtype)
    if int(params.zero_point) != low:
        return ()
    top = (high - low) * float(params.scale)
    return (0.0, *(ceiling for ceiling in _CEILINGS if abs(top - ceiling) < ceiling * 1e-3))
