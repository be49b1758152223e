"""What a change of shape does to a layout."""

from __future__ import annotations

from collections.abc import Sequence

from pruna_ir.backends.tflite.layouts import Layout, identity


def blocks(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]] | None:
    """The smallest runs of axes that a reshape turns into each other, with axes of size one left out.

    None for empty tensors, in which any axes would do.
    """
    if 0 in before or 0 in after:
        return None
    sources = [axis for axis, size in enumerate(before) if size != 1]
    targets = [axis for axis, size in enumerate(after) if size != 1]
    found: list[tuple[list[int], list[int]]] = []
    while sources and targets:
        source, target = [sources.pop(0)], [targets.pop(0)]
        left, right = before[source[0]], after[target[0]]
        while left != right:
            if left < right:
                source.append(sources.pop(0))
                left *= before[source[-1]]
            else:
                target.append(targets.pop(0))
                right *= after[target[-1]]
        found.append((source, target))
    return found


def relabel(before: Sequence[int], after: Sequence[int], layout: Layout) -> Layout | None:
    """The layout of a reshape's result if its input is stored in `layout`; None if bytes would have to move.

    Axes of size one go where they stand in the ONNX shape, as near as that can be: they move no bytes.
    """
    if layout == identity(len(before)):
        return identity(len(after))
    runs = blocks(before, after)
    if runs is None:
        return None
    stored = [axis for axis in layout if before[axis] != 1]
    order: list[int] = []
    while stored:
        run = next((run for run in runs if run[0][0] == stored[0]), None)
        if run is None or stored[: len(run[0])] != run[0]:
            return None
        del stored[: len(run[0])]
        order += run[1]
    return _with_ones(order, after)


def _with_ones(order: list[int], shape: Sequence[int]) -> Layout:
    """Put axes of size one between the others: leading ones first, the others behind the axis that they follow."""
    result = list(order)
    for axis, size in enumerate(shape):
        if size == 1:
            place = 0 if axis == 0 else result.index(axis - 1) + 1
            result.insert(place, axis)
    return tuple(result)
