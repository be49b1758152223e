"""What a Slice takes."""

from __future__ import annotations

import onnx_graphsurgeon as gs


def slices(node: gs.Node) -> list[tuple[int, slice]]:
    """What a Slice with constant parameters takes of which axis; see `indices`."""
    given = [[] if tensor.is_empty() else tensor.values.tolist() for tensor in node.inputs[1:]]
    starts, ends, axes, steps = given + [[]] * (4 - len(given))
    axes, steps = axes or list(range(len(starts))), steps or [1] * len(starts)
    return [(axis, slice(*place)) for axis, *place in zip(axes, starts, ends, steps, strict=True)]


def indices(size: int, place: slice) -> range:
    """The indices that a slice takes of an axis: Python's, but from 0 at the earliest when it goes backwards."""
    start = max(place.start, -size) if place.step < 0 else place.start
    return range(size)[start : place.stop : place.step]
