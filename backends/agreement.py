"""A written file next to the model that it was made from: how well their outputs agree, and whether their scales do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.analysis.qdq import DEQUANTIZE, QUANTIZE, params_of, writer_of
from pruna_ir.diagnostics import error
from pruna_ir.emission import Check

if TYPE_CHECKING:
    from pruna_ir.model import Model
    from pruna_ir.runtime.runner import Runner

Feeds = Mapping[str, np.ndarray]
# Scales and zero points, as bytes.
Params = tuple[bytes, bytes]
NO_SCALES = Check("scales", "none: all in float")
# Operators behind which a value still is a multiple of the scale before them.
_MOVES = frozenset({"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Identity"})


@dataclass
class Agreement:
    """How an output agrees with the model's over all samples. `step` is the scale that it was rounded with last.

    `gap` is the largest difference; `steps` the same in multiples of the step, and `differ` counts the values that are
    another number of them.
    """

    step: float | None
    steps: int = 0
    differ: int = 0
    values: int = 0
    squares: float = 0.0
    low: float = field(default=np.inf)
    high: float = field(default=-np.inf)
    gap: float = 0.0

    def add(self, wanted: np.ndarray, found: np.ndarray) -> bool:
        """Add a sample; whether the shapes, and which values are numbers, are the same."""
        wanted, found = wanted.astype(np.float64), found.astype(np.float64)
        if wanted.shape != found.shape:
            return False
        finite = np.isfinite(wanted)
        if not np.array_equal(wanted[~finite], found[~finite], equal_nan=True) or not np.isfinite(found[finite]).all():
            return False
        gap = np.abs(found[finite] - wanted[finite])
        self.values += gap.size
        if not gap.size:
            return True
        self.squares += float(np.square(gap).sum())
        self.low, self.high = min(self.low, wanted[finite].min()), max(self.high, wanted[finite].max())
        self.gap = max(self.gap, float(gap.max()))
        if self.step is not None:
            steps = np.rint(gap / self.step)
            self.steps = max(self.steps, int(steps.max()))
            self.differ += int(np.count_nonzero(steps))
        return True

    @property
    def range(self) -> float:
        """The range of the output, or its size where it is constant."""
        return (self.high - self.low) or abs(self.high) or 1.0

    @property
    def worst(self) -> float:
        """The largest difference, relative to the range."""
        return self.gap / self.range if self.values else 0.0

    @property
    def error(self) -> float:
        """Root of the mean squared error, relative to the range."""
        return float(np.sqrt(self.squares / self.values) / self.range) if self.values else 0.0

    def __str__(self) -> str:
        if self.step is None:
            return f"{self.worst:.1e} of the range"
        return f"{self.steps} steps, {self.differ / max(self.values, 1):.2%} of the values differ"


def compare(
    model: Model, reference: Runner, file: Runner, samples: Sequence[Feeds], help_text: str = ""
) -> dict[str, Agreement]:
    """Each output of the file beside that of the model; E002 where shapes or infinities differ."""
    steps = {str(tensor.name): last_step(tensor) for tensor in model.graph.outputs}
    found = {name: Agreement(step) for name, step in steps.items()}
    for feeds in samples:
        full = fill_batch(feeds, reference)
        expected, answers = reference.run(full), file.run(full)
        for name, agreement in found.items():
            if not agreement.add(expected[name], answers[name]):
                message = f"the written file's output `{name}` has another shape, or no numbers where the model has"
                raise error("E002", message, help=help_text)
    return found


def fill_batch(feeds: Feeds, reference: Runner) -> Feeds:
    """A sample, repeated to the number of samples that the model is bound to."""
    full = dict(feeds)
    for spec in reference.inputs:
        size = spec.shape[0] if spec.shape else None
        if isinstance(size, int) and spec.name in full and len(full[spec.name]) < size:
            full[spec.name] = np.resize(full[spec.name], (size, *full[spec.name].shape[1:]))
    return full


def last_step(tensor: gs.Tensor) -> float | None:
    """The one scale that a tensor was rounded with before it left, if nothing but moves came after."""
    node = writer_of(tensor)
    while node is not None and node.op in _MOVES:
        node = writer_of(node.inputs[0])
    if node is None or node.op != DEQUANTIZE:
        return None
    params = params_of(node)
    return float(params.scale) if params is not None and params.axis is None else None


def require_agreement(
    found: Mapping[str, Agreement], limit: float, place: str, where: str, help_text: str = ""
) -> None:
    """Raise E002 for the outputs that are further off than rounding explains: `limit` is of their mean error."""
    bad = [f"`{name}`: {agreement}" for name, agreement in found.items() if not agreement.error <= limit]
    if bad:
        message = f"the written file does not compute the model's outputs on {where}"
        raise error("E002", message, place=place, help=help_text, notes=bad)


def require_same_scales(graph: gs.Graph, found: Iterable[tuple[str, Params]]) -> Check:
    """Scales and zero points of a file by tensor, which must be the graph's, bit for bit; E002 with all that are not.

    A tensor with a name of the graph's has that tensor's; another one those of some tensor, or of some of its channels.
    """
    named = graph_params(graph)
    known = {params for several in named.values() for params in several}
    strangers, count = [], 0
    for name, params in found:
        count += 1
        wanted = named.get(name)
        if params in (known if wanted is None else wanted) or (wanted is None and _part_of(params, known)):
            continue
        strangers.append(f"`{name}`")
    if strangers:
        raise error("E002", f"{len(strangers)} tensors of the file have scales that the model has not", notes=strangers)
    return Check("scales", f"of {count} tensors, bit-identical to the model's") if count else NO_SCALES


def graph_params(graph: gs.Graph) -> dict[str, set[Params]]:
    """Scales and zero points by the name of the integer tensor; constants that are equal may have several."""
    named: dict[str, set[Params]] = {}
    for node in graph.nodes:
        params = params_of(node) if node.op in (QUANTIZE, DEQUANTIZE) else None
        if params is not None:
            tensor = node.outputs[0] if node.op == QUANTIZE else node.inputs[0]
            named.setdefault(str(tensor.name), set()).add(as_bytes(params.scale, params.zero_point))
    return named


def as_bytes(scale: np.ndarray, zero_point: np.ndarray) -> Params:
    """Scales as 32-bit floats, and as many zero points as 64-bit integers."""
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    return scales.tobytes(), np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).tobytes()


def _part_of(params: Params, known: set[Params]) -> bool:
    """Whether these are some of the channels of a tensor of the graph: a layer may be written in parts."""
    scale, zeros = params
    return any(scale in other and zeros in other_zeros for other, other_zeros in known)
