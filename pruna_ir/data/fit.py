"""Whether samples fit a model's inputs: names, shapes, dtypes, finite values. What fits is converted and fed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pruna_ir.data.sources import UNNAMED, Sample
from pruna_ir.diagnostics import PrunaError, error
from pruna_ir.model.spec import TensorSpec

Feeds = dict[str, np.ndarray]


def batch_axis(inputs: Sequence[TensorSpec]) -> bool:
    """Whether axis 0 of every input counts samples: all inputs open there, or all of one fixed size.

    Otherwise (a scalar input, a recurrent state with its layers first) a sample is one whole set of inputs.
    """
    if not inputs or any(not spec.shape for spec in inputs):
        return False
    fixed = {spec.shape[0] if isinstance(spec.shape[0], int) else None for spec in inputs}
    return len(fixed) == 1


@dataclass(frozen=True)
class Fit:
    """Samples of one split against the inputs of a model.

    `place` names the split in diagnostics; `computed` says that the values come from our own preprocessing, so that
    their float type is ours to choose.
    """

    inputs: tuple[TensorSpec, ...]
    place: str
    computed: bool = False

    @property
    def batched(self) -> bool:
        """Whether samples can be stacked to batches."""
        return batch_axis(self.inputs)

    @property
    def static_batch(self) -> int | None:
        """The batch size that the model fixes, if it does."""
        first = self.inputs[0].shape[0] if self.batched else None
        return first if isinstance(first, int) else None

    def rows(self, sample: Sample, index: int) -> Iterator[tuple[Feeds, Any]]:
        """The feeds of one sample without batch axis, with its label; of each row if the sample is a ready batch.

        Where the model has no batch axis, the sample as it is. `index` is the number of the first row, for
        diagnostics: D003 (name, shape, dtype), D004 (NaN or Inf), D007 (labels that do not count the rows).
        """
        named = self._named(sample.arrays)
        if not self.batched:
            self._check_shapes(named, skip=0)
            yield self._converted(named, index), sample.label
        elif all(named[spec.name].ndim == len(spec.shape) for spec in self.inputs):
            yield from self._ready_batch(named, sample.label, index)
        else:
            self._check_shapes(named, skip=1)
            yield self._converted(named, index), sample.label

    def _ready_batch(self, named: Mapping[str, np.ndarray], label: Any, index: int) -> Iterator[tuple[Feeds, Any]]:
        rows = {len(array) for array in named.values()}
        if len(rows) != 1:
            raise self._misfit(named, "the inputs of one batch have different sizes", 0)
        count = rows.pop()
        labels = [None] * count if label is None else np.atleast_1d(np.asarray(label))
        if len(labels) != count:
            raise error("D007", f"a batch of {count} samples comes with {len(labels)} labels", place=self.place)
        for row in range(count):
            single = {name: array[row] for name, array in named.items()}
            self._check_shapes(single, skip=1)
            yield self._converted(single, index + row), labels[row]

    def _named(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if set(arrays) == {UNNAMED} and len(self.inputs) == 1:
            return {self.inputs[0].name: arrays[UNNAMED]}
        if set(arrays) != {spec.name for spec in self.inputs}:
            raise self._misfit(arrays, "the names of the samples' arrays are not those of the model's inputs", 0)
        return dict(arrays)

    def _check_shapes(self, named: Mapping[str, np.ndarray], skip: int) -> None:
        symbols: dict[str, int] = {}
        for spec in self.inputs:
            array, wanted = named[spec.name], spec.shape[skip:]
            if array.ndim != len(wanted):
                reason = f"`{spec.name}` has {array.ndim} dimensions, the model wants {len(wanted)}"
                raise self._misfit(named, reason + (" (without the batch)" if skip else ""), skip)
            for axis, (size, dim) in enumerate(zip(array.shape, wanted, strict=True)):
                expected = symbols.setdefault(dim, size) if isinstance(dim, str) else dim
                if expected is not None and expected != size:
                    what = f"`{dim}` = {expected}" if isinstance(dim, str) else str(expected)
                    reason = f"dimension {axis + skip} of `{spec.name}` is {size}, the model wants {what}"
                    raise self._misfit(named, reason, skip)

    def _converted(self, named: Mapping[str, np.ndarray], index: int) -> Feeds:
        feeds = {}
        for spec in self.inputs:
            array = self._convert(named, spec, index)
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                kind = "NaN" if np.isnan(array).any() else "Inf"
                raise error("D004", f"sample {index} holds {kind} in `{spec.name}`", place=self.place)
            feeds[spec.name] = array
        return feeds

    def _convert(self, named: Mapping[str, np.ndarray], spec: TensorSpec, index: int) -> np.ndarray:
        array = np.asarray(named[spec.name])  # a row of a column of numbers is a NumPy scalar, which runtimes refuse
        if array.dtype == spec.dtype:
            return array
        if array.dtype.kind in "biu":
            with np.errstate(all="ignore"):
                converted = array.astype(spec.dtype)
                exact = np.array_equal(converted.astype(array.dtype), array)
            if exact and spec.dtype.kind in "biuf":
                return converted
            raise self._misfit(named, f"sample {index}: `{spec.name}` does not convert exactly to {spec.dtype.name}", 1)
        narrows = array.dtype == np.float64 and spec.dtype == np.float32
        if np.can_cast(array.dtype, spec.dtype) or narrows or (self.computed and spec.dtype.kind == "f"):
            with np.errstate(over="ignore"):
                return array.astype(spec.dtype)
        reason = f"`{spec.name}` is {array.dtype.name}, the model wants {spec.dtype.name}"
        raise self._misfit(named, reason, 1)

    def _misfit(self, arrays: Mapping[str, np.ndarray], reason: str, skip: int) -> PrunaError:
        """D003 with both sides, the model's and the sample's."""
        model = ", ".join(str(spec) for spec in self.inputs) or "no inputs"
        sample = ", ".join(
            f"{name or '(no name)'}: {array.dtype.name}[{', '.join(map(str, array.shape))}]"
            for name, array in arrays.items()
        )
        notes = (f"the model wants {model}", f"the sample is    {sample}")
        return error("D003", reason, place=self.place, notes=notes, help=self._hint(arrays, skip))

    def _hint(self, arrays: Mapping[str, np.ndarray], skip: int) -> str:
        if set(arrays) == {UNNAMED} and len(self.inputs) > 1:
            return "name the arrays: `arrays: {input name: array name}` in the description"
        if len(arrays) > 1 and len(self.inputs) == 1:
            return f"choose one: `array: {next(iter(arrays))}` in the description, or give the input's name"
        for spec in self.inputs:
            array = arrays.get(spec.name)
            turned = array is not None and array.ndim == 3 and skip == 1 and array.shape != spec.shape[1:]
            if array is not None and turned and (*array.shape[2:], *array.shape[:2]) == spec.shape[1:]:
                return "the samples look like NHWC; `input: {layout: NCHW}` in the description transposes them"
        return ""
