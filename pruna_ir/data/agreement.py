"""Agreement with a reference model: the metric of data without labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pruna_ir.data.margins import margins
from pruna_ir.data.metrics import Metric, Outputs, Run, trim
from pruna_ir.data.split import Batch


class Agreement(Metric):
    """How far outputs agree with those of a reference, from 0 to 1.

    For a classifier (the only float output is [N, classes], classes > 1): the fraction of samples with the same best
    class. Otherwise, per float output, 1 - |output - reference| / |reference| with the Euclidean norm over all
    samples, that is 1 - 10^(-SQNR / 20), at least 0; per other output, the fraction of equal elements; the mean of
    these over the outputs.

    The reference runs once a batch; what is needed of its outputs is kept up to `cache_bytes` for further rounds.
    """

    name = "agreement"
    needs_labels = False

    def __init__(self, reference: Run, cache_bytes: int = 256 << 20) -> None:
        self._reference = reference
        self._room = cache_bytes
        self._cache: dict[tuple[str, int, int], dict[str, np.ndarray]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget the scores, not the reference's outputs."""
        self._equal = self._count = 0
        self._error: dict[str, float] = {}
        self._energy: dict[str, float] = {}
        self._parts: dict[str, list[float]] = {}
        self._margins: list[np.ndarray] = []

    def update(self, outputs: Outputs, batch: Batch) -> None:
        """Add a batch; the reference is run on its feeds, unless its outputs are known."""
        expected = self._expected(batch)
        name = _class_scores(outputs)
        if name is not None:
            best = outputs[name].argmax(1)
            self._equal += int((best == expected[name]).sum())
            self._count += len(best)
            self._margins.append(margins(outputs[name], expected[name]))
            return
        for name, found in outputs.items():
            wanted = expected[name]
            if found.dtype.kind != "f":
                equal, count = self._parts.get(name, [0.0, 0.0])
                self._parts[name] = [equal + float((found == wanted).sum()), count + found.size]
                continue
            error, energy = _energies(found.astype(np.float64), wanted.astype(np.float64))
            self._error[name] = self._error.get(name, 0.0) + error
            self._energy[name] = self._energy.get(name, 0.0) + energy

    def result(self) -> float:
        """The agreement so far."""
        if self._count:
            return self._equal / self._count
        scores = [_closeness(self._error[name], self._energy[name]) for name in self._error]
        scores += [equal / count if count else 1.0 for equal, count in self._parts.values()]
        return float(np.mean(scores)) if scores else 0.0

    def margins(self) -> np.ndarray | None:
        """By how much the reference's class is the best one, for a classifier."""
        return np.concatenate(self._margins) if self._margins else None

    def _expected(self, batch: Batch) -> Mapping[str, np.ndarray]:
        key = (batch.split, batch.index, batch.count)
        if key in self._cache:
            return self._cache[key]
        outputs = trim(self._reference(batch.feeds), batch)
        name = _class_scores(outputs)
        if name is not None:
            kept = {name: outputs[name].argmax(1)}
        else:
            kept = {name: np.array(array) for name, array in outputs.items()}
        size = sum(array.nbytes for array in kept.values())
        if size <= self._room:
            self._room -= size
            self._cache[key] = kept
        return kept


def _class_scores(outputs: Outputs) -> str | None:
    """The name of a classifier's scores, or None if this is not a classifier."""
    floats = [name for name, array in outputs.items() if array.dtype.kind == "f"]
    if len(floats) == 1 and outputs[floats[0]].ndim == 2 and outputs[floats[0]].shape[1] > 1:
        return floats[0]
    return None


def _energies(found: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """Energy of the error and of the reference; where the reference is Inf or NaN only the same is no error."""
    finite = np.isfinite(wanted)
    if not np.array_equal(found[~finite], wanted[~finite], equal_nan=True):
        return float("inf"), 0.0
    with np.errstate(invalid="ignore", over="ignore"):  # a broken model may give Inf
        error = float(((found[finite] - wanted[finite]) ** 2).sum())
    return error, float((wanted[finite] ** 2).sum())


def _closeness(error_energy: float, energy: float) -> float:
    if not np.isfinite(error_energy):
        return 0.0
    if energy == 0.0:
        return 1.0 if error_energy == 0.0 else 0.0
    return max(0.0, 1.0 - float(np.sqrt(error_energy / energy)))
