"""Regions: the groups of kernels that the guards quantize or leave in float together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from pruna_ir.passes.quantization.kernel import Kernel
from pruna_ir.passes.quantization.plan import Plan
from pruna_ir.targets import Output

_Size = tuple[int | str, ...]


@dataclass(frozen=True)
class Region:
    """Connected kernels at one spatial resolution: inside, integers flow without conversions.

    Regions of one `kind` hold the same ops on tensors of the same shapes.
    """

    name: str
    kernels: tuple[str, ...]
    kind: str


def split(plan: Plan) -> list[Region]:
    """The regions of a plan, in graph order.

    Two kernels are in one region if they share a tensor and write the same spatial size. What an integer kernel wins
    depends on the size (measured: `docs/quantization.md`), so a boundary between sizes is where it can pay to stop.
    Kernels at the end, whose rounded results only float ops read, are regions of their own, one for each size:
    detection heads lose most there. So is each kernel with weights that reads an input of the model: of a few channels
    integer kernels make little, and the model's input need not be rounded.
    """
    group: dict[int, int] = {index: index for index in range(len(plan.kernels))}
    touching: dict[tuple[int, bool, _Size], int] = {}
    for index, kernel in enumerate(plan.kernels):
        size, ends = _spatial(kernel.output), _ends(kernel, plan)
        if _begins(kernel):
            continue
        for tensor in [0] if ends else _shared(kernel):
            _join(group, index, touching.setdefault((tensor, ends, size), index))
    return [_region(kernels, plan) for kernels in _members(plan, group)]


def connected(plan: Plan) -> list[list[Kernel]]:
    """The kernels of a plan in groups between which no integers flow, in graph order."""
    group: dict[int, int] = {index: index for index in range(len(plan.kernels))}
    touching: dict[int, int] = {}
    for index, kernel in enumerate(plan.kernels):
        for tensor in _shared(kernel):
            _join(group, index, touching.setdefault(tensor, index))
    return _members(plan, group)


def _shared(kernel: Kernel) -> list[int]:
    """The ids of the tensors through which a kernel is connected with others."""
    return [*map(id, kernel.outputs), *(id(read) for _, read in kernel.activations() if not _is_constant(read))]


def _members(plan: Plan, group: dict[int, int]) -> list[list[Kernel]]:
    members: dict[int, list[Kernel]] = {}
    for index, kernel in enumerate(plan.kernels):
        members.setdefault(_root(group, index), []).append(kernel)
    return list(members.values())


def _region(kernels: list[Kernel], plan: Plan) -> Region:
    size = "x".join(str(dim) for dim in _spatial(kernels[0].output)) or "flat"
    place = "input of" if _begins(kernels[0]) else "outputs" if _ends(kernels[0], plan) else "from"
    kind = " ".join(sorted(f"{kernel.node.op}{_known(kernel.output.shape)}" for kernel in kernels))
    return Region(f"{size} {place} `{kernels[0].key}`", tuple(kernel.key for kernel in kernels), f"{place} {kind}")


def _begins(kernel: Kernel) -> bool:
    """Whether a kernel with weights reads an input of the model."""
    return kernel.weight is not None and any(
        not read.inputs and not _is_constant(read) for _, read in kernel.activations()
    )


def _ends(kernel: Kernel, plan: Plan) -> bool:
    return kernel.row.output is Output.REQUIRED and not any(map(plan.reads, kernel.outputs))


def _is_constant(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Constant)


def _spatial(tensor: gs.Tensor) -> _Size:
    shape = _known(tensor.shape)
    return shape[2:] if len(shape) > 2 else ()


def _known(shape: Sequence[int | str | None] | None) -> _Size:
    """A shape with `?` for each dimension that is not a number: exporters name equal ones differently."""
    return tuple(dim if isinstance(dim, int) else "?" for dim in shape or ())


def _root(group: dict[int, int], index: int) -> int:
    while group[index] != index:
        group[index] = group[group[index]]  # halves the path: long chains stay cheap
        index = group[index]
    return index


def _join(group: dict[int, int], one: int, other: int) -> None:
    first, second = sorted((_root(group, one), _root(group, other)))
    group[second] = first
