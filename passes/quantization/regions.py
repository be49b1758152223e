"""Regions: the groups of kernels that the guards quantize or leave in float together."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from pruna_ir.passes.quantization.plan import Kernel, Plan


@dataclass(frozen=True)
class Region:
    """Connected kernels at one spatial resolution: inside, integers flow without conversions."""

    name: str
    kernels: tuple[str, ...]


def split(plan: Plan) -> list[Region]:
    """The regions of a plan, in graph order.

    Two kernels are in one region if they share a tensor and write the same spatial size. What an integer kernel wins
    depends on the size (measured: `docs/quantization.md`), so a boundary between sizes is where it can pay to stop.
    """
    group: dict[int, int] = {index: index for index in range(len(plan.kernels))}
    touching: dict[tuple[int, tuple[int | str | None, ...]], int] = {}
    for index, kernel in enumerate(plan.kernels):
        size = _spatial(kernel.output)
        for tensor in [kernel.output, *(tensor for _, tensor in kernel.activations())]:
            if isinstance(tensor, gs.Constant):
                continue
            other = touching.setdefault((id(tensor), size), index)
            _join(group, index, other)
    members: dict[int, list[Kernel]] = {}
    for index, kernel in enumerate(plan.kernels):
        members.setdefault(_root(group, index), []).append(kernel)
    return [_region(kernels) for kernels in members.values()]


def _region(kernels: list[Kernel]) -> Region:
    size = "x".join(str(dim) for dim in _spatial(kernels[0].output)) or "flat"
    return Region(f"{size} from `{kernels[0].key}`", tuple(kernel.key for kernel in kernels))


def _spatial(tensor: gs.Tensor) -> tuple[int | str | None, ...]:
    shape = tuple(tensor.shape or ())
    return shape[2:] if len(shape) > 2 else ()


def _root(group: dict[int, int], index: int) -> int:
    while group[index] != index:
        index = group[index]
    return index


def _join(group: dict[int, int], one: int, other: int) -> None:
    first, second = sorted((_root(group, one), _root(group, other)))
    group[second] = first
