"""Blocks of an image as the strided slices of it that a Concat puts together."""

from __future__ import annotations

import itertools
import math

import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.layout.slicing import slices
from pruna_ir.pipeline.rules import constants, producer
from pruna_ir.remarks import Reason

# Steps of the strided slices along each spatial axis, and where each slice starts.
Blocks = tuple[tuple[int, ...], list[tuple[int, ...]]]


def common_source(parts: list[gs.Tensor]) -> gs.Tensor | None:
    """The nearest tensor that all tensors are made of by Slices alone, none of them by no Slice at all."""
    chains = [_chain(tensor) for tensor in parts]
    shared = set.intersection(*({id(tensor) for tensor in chain[1:]} for chain in chains))
    return next((tensor for tensor in chains[0] if id(tensor) in shared), None)


def _chain(tensor: gs.Tensor) -> list[gs.Tensor]:
    """A tensor, what it is a Slice of, what that is a Slice of, and so on."""
    chain = [tensor]
    while (node := producer(chain[-1], "Slice")) is not None:
        chain.append(node.inputs[0])
    return chain


def joined_blocks(concat: gs.Node, source: gs.Tensor, rank: int) -> Blocks | Reason:
    """The steps and starts of the slices that a Concat of channels puts together, in order.

    They are all that a block of `source`, which has `rank` spatial axes, consists of, each once; else a reason.
    """
    if concat.attrs["axis"] not in (1, -1 - rank):
        return Reason("`{}` does not join channels", concat.outputs[0].name)
    taken: list[dict[int, range]] = []
    for tensor in concat.inputs:
        indices = _taken(tensor, source)
        if isinstance(indices, Reason):
            return indices
        taken.append(indices)
    axes = range(2, 2 + rank)
    every = [tuple(indices.get(axis, range(0, 1)) for axis in axes) for indices in taken]
    steps = tuple(indices.step for indices in every[0])
    starts = [tuple(indices.start for indices in one) for one in every]
    block = set(itertools.product(*(range(step) for step in steps)))
    if not all(set(indices) <= set(axes) for indices in taken):
        return Reason("`{}` is not sliced in space only", source.name)
    if any(tuple(indices.step for indices in one) != steps for one in every) or math.prod(steps) < 2:
        return Reason("the slices of `{}` are not strided alike", source.name)
    if set(starts) != block or len(starts) != len(block):
        return Reason("the slices of `{}` are not all offsets of a block, each once", source.name)
    return _incomplete(taken, source, dict(zip(axes, steps, strict=True))) or (steps, starts)


def _incomplete(taken: list[dict[int, range]], source: gs.Tensor, steps: dict[int, int]) -> Reason | None:
    """Why slices with these steps along the axes do not cover all of `source`."""
    for axis, step in steps.items():
        if step > 1 and source.shape[axis] % step:
            return Reason("axis {} of `{}` is {}, no multiple of {}", axis, source.name, source.shape[axis], step)
        if any(axis in one and len(one[axis]) != source.shape[axis] // step for one in taken):
            return Reason("a slice of `{}` ends before axis {} does", source.name, axis)
    return None


def _taken(tensor: gs.Tensor, source: gs.Tensor) -> dict[int, range] | Reason:
    """Which indices of each sliced axis of `source` are in a tensor made of it by Slices."""
    taken: dict[int, range] = {}
    chain = _chain(tensor)
    first = next(place for place, link in enumerate(chain) if link is source)
    for link in reversed(chain[:first]):
        parameters = link.inputs[0].inputs[1:]
        reason = constants(one for one in parameters if not one.is_empty())
        if reason is not None:
            return reason
        if source.shape is None:
            return Reason("the shape of `{}` is not known", source.name)
        for axis, place in slices(link.inputs[0]):
            axis %= len(source.shape)
            if not isinstance(source.shape[axis], int):
                return Reason("axis {} of `{}` is not known as a number", axis, source.name)
            taken[axis] = taken.get(axis, range(source.shape[axis]))[place]
    return taken
