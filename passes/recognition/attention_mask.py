"""What is added to the scores of attention before the softmax: the forms that it is found in, and the one needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.recognition.insertion import Surroundings
from pruna_ir.passes.simplify.shapes.analysis import ShapeAnalysis
from pruna_ir.passes.simplify.shapes.symbolic import Entry
from pruna_ir.pipeline.patterns import OneOf, Op, Pattern, Scalar, Value, scalar
from pruna_ir.pipeline.rules import Match, producer
from pruna_ir.remarks import Reason

# A score below this one does not count, whatever is added to it.
_FORBIDDEN = -1e30
# ONNX Runtime gives zeros for rows of the lowest number, as for rows of -inf; of any other number, the mean. Two masks
# of this one can be added up.
_FLOOR = np.float32(-1e38)
_PARTS = ("mask", "kept", "replaced")


def masked(scores: Pattern) -> Pattern:
    """Scores with a mask: added, or put in their place where a condition says so, or both."""
    replaced = OneOf(
        Op("Where", Value("kept"), scores, Scalar(name="fill")),
        Op("Where", Value("replaced"), Scalar(name="fill"), scores),
    )
    return OneOf(Op("Add", OneOf(replaced, scores), Value("mask")), replaced, scores)


def unfit_mask(match: Match, scores: Sequence[Entry], analysis: ShapeAnalysis) -> Reason | None:
    """Why what is done to scores of four dimensions is no mask.

    Open dimensions that meet are taken to be equal, as broadcasting asks of all but 1.
    """
    fill = scalar(match["fill"]) if "fill" in match else None
    if fill is not None and not fill <= _FORBIDDEN:
        return Reason("`{}` puts {:g} in the place of scores, which may still count", match["fill"].name, fill)
    for part in (match[name] for name in _PARTS if name in match):
        dims = analysis.dims(part)
        if dims is None or len(dims) > len(scores):
            return Reason("the mask `{}` has {} dimensions", part.name, "unknown" if dims is None else len(dims))
        if any(own == 1 and dim != 1 for dim, own in zip(dims[::-1], scores[::-1], strict=False)):
            return Reason("the mask `{}` adds to the shape of the scores", part.name)
    mask = match.get("mask")
    if mask is None:
        return None
    if mask.dtype != np.float32:
        return Reason("the mask `{}` holds {}, not float32", mask.name, mask.dtype)
    if _is_guarded(match, mask) is None:
        return Reason("rows are guarded against NaN, and `{}` is not known to mask by -inf", mask.name)
    return None


def _values(mask: gs.Tensor) -> np.ndarray | None:
    """All values that a mask may hold, if they are known: it is a constant, or chooses between two."""
    if isinstance(mask, gs.Constant):
        return np.asarray(mask.values)
    choice = producer(mask, "Where")
    chosen = [] if choice is None else [scalar(tensor) for tensor in choice.inputs[1:]]
    return np.array(chosen, np.float32) if chosen and None not in chosen else None


def _is_guarded(match: Match, mask: gs.Tensor) -> bool | None:
    """Whether rows that a mask hides altogether become zeros: those of -inf do behind a guard; None if unknown."""
    if "guard" not in match:
        return False
    values = _values(mask)
    if values is None:
        return None
    infinite = np.isneginf(values[~(values > _FORBIDDEN)])
    return True if infinite.all() else None if infinite.any() else False


def is_causal(match: Match, scores: Sequence[Entry]) -> bool:
    """Whether the mask is a constant that hides from each token those behind it, and nothing else."""
    mask, tokens = match.get("mask"), scores[-1]
    if "fill" in match or not isinstance(mask, gs.Constant) or not isinstance(tokens, int) or scores[-2] != tokens:
        return False
    values = np.asarray(mask.values)
    if values.size != tokens * tokens or values.shape[-2:] != (tokens, tokens):
        return False
    hidden = np.triu(np.ones((tokens, tokens), bool), 1)
    square = values.reshape(tokens, tokens)
    return bool((square[hidden] <= _FORBIDDEN).all() and not square[~hidden].any())


def added_mask(
    match: Match, query: gs.Tensor, key: gs.Tensor, scores: Sequence[Entry], around: Surroundings
) -> list[gs.Tensor]:
    """The mask to add to the scores, if there is one, with all their rows and columns; layers share it.

    Query and key have the axes batch, tokens, heads times size.
    """
    root = match["root"]
    parts = [_floored(match, around)] if "mask" in match else []
    if "fill" in match:
        parts.append(_chosen(match, around))
    if not parts:
        return []
    mask = parts[0]
    if len(parts) > 1:
        rank = max(len(part.shape or ()) for part in parts)
        mask = around.once("sum", parts, root, lambda: around.insert("Add", parts, [None] * rank, root))
    dims = around.analysis.dims(mask)
    if dims is not None and len(dims) > 1 and list(dims[-2:]) == list(scores[-2:]):
        return [mask]
    rows, columns = (match["scores"].outputs[0].shape or [None] * 4)[-2:]
    shape = [*(mask.shape or ())[:-2], rows, columns]

    def repeat() -> gs.Tensor:
        tokens = {"start": 1, "end": 2}
        sizes = [around.insert("Shape", [one], [1], root, tokens, np.int64) for one in (query, key)]
        target = around.insert("Concat", sizes, [2], root, {"axis": 0})
        return around.insert("Expand", [mask, target], shape, root)

    return [around.once(("repeated", scores[-2], scores[-1]), [mask], root, repeat)]


def _floored(match: Match, around: Surroundings) -> gs.Tensor:
    """The mask without numbers for which a row that it hides altogether would get zeros, if it did not before."""
    mask, root = match["mask"], match["root"]
    values = _values(mask)
    if _is_guarded(match, mask) or (values is not None and (values >= _FLOOR).all()):
        return mask
    if values is not None and isinstance(mask, gs.Constant):
        raised = np.maximum(values, _FLOOR)
        return around.once("floor", [mask], root, lambda: around.constant(mask.name, raised))
    floor = around.constant("floor", _FLOOR)
    return around.once("floor", [mask], root, lambda: around.insert("Max", [mask, floor], mask.shape, root))


def _chosen(match: Match, around: Surroundings) -> gs.Tensor:
    """What to add to the scores so that they become the fill where that stands in their place."""
    root, name = match["root"], "kept" if "kept" in match else "replaced"
    condition, fill = match[name], np.float32(scalar(match["fill"]) or 0.0)
    lowest = fill if "guard" in match and np.isneginf(fill) else max(fill, _FLOOR)

    def choose() -> gs.Tensor:
        values = [around.constant("mask", np.float32(value)) for value in (0, lowest)]
        inputs = [condition, *(values if name == "kept" else values[::-1])]
        return around.insert("Where", inputs, condition.shape, root, dtype=np.float32)

    return around.once((name, float(lowest)), [condition], root, choose)
