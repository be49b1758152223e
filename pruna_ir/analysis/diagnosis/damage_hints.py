"""What to do about a layer that quantization damages: the first cause in a table that its figures show."""

from __future__ import annotations

import math
from collections.abc import Callable

from pruna_ir.analysis.diagnosis.layer_errors import LayerError
from pruna_ir.analysis.unmeasured import Unmeasured

# A layer with less than this share of the damage needs no advice, nor one that alone leaves so many dB.
SMALL_SHARE = 0.01
# One with more than this has something done about it even if no figure of it is bad.
LARGE_SHARE = 0.25
HARMLESS = 45.0
# Below so many dB, a layer's own rounding is worth an effort (8 bits over a well used range give 40 to 50).
POOR = 32.0


def _below(figure: float | Unmeasured, limit: float) -> bool:
    return not isinstance(figure, Unmeasured) and figure < limit


def _above(figure: float | Unmeasured, limit: float) -> bool:
    return not isinstance(figure, Unmeasured) and figure > limit


def _differs(error: LayerError) -> bool:
    """Whether the runtime strays further from the simulation than that from float: roundings alone do not do that."""
    accumulated = math.inf if isinstance(error.accumulated, Unmeasured) else error.accumulated
    return _below(error.runtime, min(POOR, accumulated - 3))


def _saturates(error: LayerError) -> bool:
    return _above(error.saturated, 1e-3) and _below(error.activation, POOR)


def _wide(error: LayerError) -> bool:
    return _below(error.bulk, 0.35) and _below(error.activation, POOR)


def _one_scale(error: LayerError) -> bool:
    return _below(error.weights, POOR) and error.layer.weight is not None and error.layer.weight.scales == 1


def _grows(error: LayerError) -> bool:
    own = [figure for figure in (error.weights, error.activation) if not isinstance(figure, Unmeasured)]
    return bool(own) and not isinstance(error.alone, Unmeasured) and error.alone < min(own) - 6


_CAUSES: tuple[tuple[Callable[[LayerError], bool], str], ...] = (
    (_differs, "the runtime's kernel saturates: 7-bit weights, as --target=ort-x86 has"),
    (_saturates, "{saturated:.1%} of its values lie beyond the range: a wider one (ranges=minmax)"),
    (_wide, "99.9 % of its values use {bulk:.0%} of the range: ranges=percentile99.9, or equalize"),
    (_one_scale, "its weights share one scale: quantize them per channel"),
    (lambda error: _below(error.weights, POOR), "its weights lose most: round-weights, or exclude it"),
    (lambda error: error.runs_in_float, "the runtime computes it in float: the rounding around it wins nothing"),
    (lambda error: _below(error.activation, POOR), "8 bits are too few for what it writes: exclude it"),
    (_grows, "its error grows in the layers behind it: tune-ranges, or exclude it"),
    (lambda error: error.share > LARGE_SHARE, "much of the damage comes from here: mixed-precision, or exclude it"),
)


def hint(error: LayerError) -> str:
    """Advice for a layer; nothing for one that does next to no harm."""
    harmless = error.share < SMALL_SHARE or not _below(error.alone, HARMLESS)
    if harmless and not _differs(error):
        return ""
    text = next((text for applies, text in _CAUSES if applies(error)), "")
    return text.format(saturated=error.saturated, bulk=error.bulk)
