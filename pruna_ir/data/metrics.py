"""Metrics: numbers that say how good a model's outputs are. They consume batches as they come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from pruna_ir.data.margins import margins
from pruna_ir.data.split import Batch, Split
from pruna_ir.diagnostics import PrunaError, error

Outputs = Mapping[str, np.ndarray]
Run = Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]


class Metric(ABC):
    """A running score. `update` gets the outputs of the real samples only; `result` may be asked at any time."""

    name: str
    higher_is_better: bool = True
    needs_labels: bool = True
    counts_samples: bool = False  # whether each sample is right or wrong, and the score their share

    @abstractmethod
    def reset(self) -> None:
        """Forget everything."""

    @abstractmethod
    def update(self, outputs: Outputs, batch: Batch) -> None:
        """Add a batch; D007 when its labels are missing or do not fit the outputs."""

    @abstractmethod
    def result(self) -> float:
        """The score over all batches so far."""

    def details(self) -> dict[str, float]:
        """Further figures that came with the score, by name."""
        return {}

    def distance(self, found: Outputs, wanted: Outputs) -> tuple[float, float] | None:
        """How far outputs are from others as the metric sees them, without labels: a squared error, and the square of
        what there was to get right. None where nothing is known that plain squares do not say."""
        return None

    def margins(self) -> np.ndarray | None:
        """By how much each sample so far is right (positive) or wrong, if the metric counts samples and can tell."""
        return None


def evaluate(run: Run, split: Split, metric: Metric, batch_size: int = 1) -> float:
    """The metric of `run` (feeds to outputs by name, in the model's order) over a split.

    Raises: D005 for an empty split, D007 when the metric needs labels that the split lacks.
    """
    if metric.needs_labels and not split.labelled:
        message = f"the metric `{metric.name}` needs labels; the split `{split.name}` has none"
        raise error("D007", message, place=split.fit.place)
    metric.reset()
    for batch in split.batches(batch_size):
        metric.update(trim(run(batch.feeds), batch), batch)
    return metric.result()


def trim(outputs: Outputs, batch: Batch) -> Outputs:
    """Outputs without the rows of the samples that only pad the batch."""
    if batch.size == batch.count:
        return outputs
    return {name: out[: batch.count] if out.ndim and len(out) == batch.size else out for name, out in outputs.items()}


def first_output(outputs: Outputs) -> np.ndarray:
    """What the built-in metrics score: the model's first output."""
    return next(iter(outputs.values()))


def misfit(metric: str, message: str) -> PrunaError:
    """The D007 diagnostic of labels that a metric cannot use."""
    return error("D007", f"the labels do not fit the metric `{metric}`: {message}")


class TopK(Metric):
    """The fraction of samples whose label is among the k highest scores of the first output [N, classes].

    Labels are class numbers from 0.
    """

    counts_samples = True

    def __init__(self, k: int) -> None:
        self.k = k
        self.name = f"top{k}"
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._right = self._count = 0
        self._margins: list[np.ndarray] = []

    def update(self, outputs: Outputs, batch: Batch) -> None:
        """Add a batch."""
        scores = first_output(outputs)
        scores = scores.reshape(len(scores), -1) if scores.ndim else scores.reshape(1, 1)
        labels = np.asarray(batch.labels)
        if labels.dtype.kind not in "iu" or labels.shape[:1] != scores.shape[:1] or labels.size != len(scores):
            what = f"{labels.dtype.name}{list(labels.shape)} for outputs {list(scores.shape)}"
            raise misfit(self.name, f"one class number a sample is wanted, there are {what}")
        labels = labels.reshape(-1)
        if labels.min() < 0 or labels.max() >= scores.shape[1]:
            wrong = labels[(labels < 0) | (labels >= scores.shape[1])][0]
            raise misfit(self.name, f"the label {wrong} is not one of the {scores.shape[1]} classes of the model")
        # A stable sort, so that a model whose scores are all equal is not right by accident.
        best = scores.argmax(1)[:, None] if self.k == 1 else np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
        self._right += int((best == labels[:, None]).any(1).sum())
        self._count += len(labels)
        if scores.shape[1] > self.k:
            self._margins.append(margins(scores, labels, self.k))

    def result(self) -> float:
        """The fraction so far."""
        return self._right / self._count if self._count else 0.0

    def margins(self) -> np.ndarray | None:
        """Those of all samples, unless there are no more than k classes."""
        return np.concatenate(self._margins) if self._margins else None


class MeanError(Metric):
    """The mean squared (`mse`) or absolute (`mae`) difference of the first output and labels of its size."""

    higher_is_better = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._sum, self._count = 0.0, 0

    def update(self, outputs: Outputs, batch: Batch) -> None:
        """Add a batch."""
        found = first_output(outputs)
        labels = np.asarray(batch.labels)
        if labels.dtype.kind not in "biuf" or labels.size != found.size:
            raise misfit(self.name, f"their shape is {list(labels.shape)}, the output's {list(found.shape)}")
        difference = np.abs(found.astype(np.float64).reshape(-1) - labels.reshape(-1))
        self._sum += float((difference**2 if self.name == "mse" else difference).sum())
        self._count += difference.size

    def result(self) -> float:
        """The mean so far."""
        return self._sum / self._count if self._count else 0.0


class FunctionMetric(Metric):
    """A user's `function(outputs, labels) -> float` over everything at once; higher is better.

    `outputs` is the array of all samples, or {name: array} if the model has several outputs; `labels` is the array of
    all labels (a list of `Annotated` for COCO data), or None. Keeps every output in memory.
    """

    needs_labels = False

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function = function
        self.name = name
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._outputs: dict[str, list[np.ndarray]] = {}
        self._labels: list[Any] = []

    def update(self, outputs: Outputs, batch: Batch) -> None:
        """Add a batch."""
        for name, array in outputs.items():
            self._outputs.setdefault(name, []).append(np.array(array))
        if batch.labels is not None:
            self._labels.append(batch.labels)

    def result(self) -> float:
        """Call the function; D008 when it raises or gives no number."""
        try:
            joined = {name: np.concatenate(parts) for name, parts in self._outputs.items()}
            outputs = next(iter(joined.values())) if len(joined) == 1 else joined
            return float(self._function(outputs, self._all_labels()))
        except Exception as failure:
            message = f"the metric `{self.name}` failed: {type(failure).__name__}: {failure}"
            raise error("D008", message) from failure

    def _all_labels(self) -> Any:
        if not self._labels:
            return None
        if isinstance(self._labels[0], np.ndarray):
            return np.concatenate(self._labels)
        return [label for labels in self._labels for label in labels]


METRICS: dict[str, Callable[[], Metric]] = {
    "top1": partial(TopK, 1),
    "top5": partial(TopK, 5),
    "mse": partial(MeanError, "mse"),
    "mae": partial(MeanError, "mae"),
}
"""Metrics by name. `map` is beside them: it needs the description's preprocessing and decoder."""
