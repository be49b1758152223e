"""Rules of operators that read a tensor at places that another one gives: channels are carried, positions are not."""

from __future__ import annotations

from pruna_ir.analysis.axes.labels import Labels
from pruna_ir.analysis.axes.node_axes import NodeAxes
from pruna_ir.analysis.axes.rule import AxisRule

_DATA, _PLACES, _SAMPLES = 0, 1, 2


def _grid_sample(at: NodeAxes) -> None:
    """X [batch, channels, ...], grid [batch, ..., 2 or 3]."""
    places = at.input(_PLACES)
    at.equate(at.input(_DATA)[0], places[0])
    for labels in places[1:]:
        at.protect(labels, at.reason("reads positions"))
    _write(at, at.input(_DATA)[0])


def _regions(at: NodeAxes) -> None:
    """X [batch, channels, ...], regions [number, 4 or 5], and the sample that each is of [number]."""
    number, coordinates = at.input(_PLACES)
    for labels in (at.input(_DATA)[0], coordinates):
        at.protect(labels, at.reason("looks up the samples and the corners of regions"))
    if at.has(_SAMPLES):
        at.equate(number, at.input(_SAMPLES)[0])
    _write(at, number)


def _write(at: NodeAxes, first: Labels) -> None:
    _, channels, *positions = at.input(_DATA)
    for labels in positions:
        at.protect(labels, at.reason("mixes the positions of this axis"))
    at.write([first, channels, *(None for _ in positions)])


RULES: dict[str, AxisRule] = {
    "GridSample": AxisRule(_grid_sample),
    "MaxRoiPool": AxisRule(_regions),
    "RoiAlign": AxisRule(_regions),
}
