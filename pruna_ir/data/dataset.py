"""Datasets: named splits of samples, how they are preprocessed, and the metric that scores a model on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from pruna_ir.data.description import Description, SplitDescription
from pruna_ir.data.fit import Fit
from pruna_ir.data.iterables import source_from
from pruna_ir.data.metrics import METRICS, FunctionMetric, Metric
from pruna_ir.data.opening import check_paths, is_image_folder, open_source
from pruna_ir.data.preprocess import Preprocessing
from pruna_ir.data.sources import MappedSource, RandomSource, Source
from pruna_ir.data.split import Split
from pruna_ir.data.user_code import load_function
from pruna_ir.diagnostics import did_you_mean, error
from pruna_ir.model.spec import TensorSpec

DESCRIPTIONS = (".yaml", ".yml", ".json")

_SYNTHETIC = "the samples are random numbers: ranges, accuracy and anything calibrated from them mean nothing"
_BARE_IMAGES = "images are fed as pixels from 0 to 255 without mean or std; describe the preprocessing in a .yaml"


@dataclass(frozen=True)
class Dataset:
    """Splits that are opened when needed, and how to feed and score them. `bind` it to a model to use it.

    `synthetic`: the samples are random numbers. `warnings`: what the user should be told about the data.
    """

    place: str
    sources: Mapping[str, Callable[[], Source]]
    preprocessing: Preprocessing | None = None
    metric: Callable[[], Metric] | None = None
    synthetic: bool = False
    warnings: tuple[str, ...] = ()
    image_folder: bool = False

    @staticmethod
    def load(spec: str | Path) -> Dataset:
        """Read a dataset from what `--data` takes.

        A .yaml (`docs/datasets.md`); a bare .npz, .npy, folder of images or folder of .npy files (the calibration
        split); `module:function` or `file.py:function`, which returns an iterable; or `random`.
        Raises D001, D002, D005, D006, D008.
        """
        path = Path(spec)
        if str(spec) == "random":
            return Dataset("random", {"calibration": RandomSource}, synthetic=True, warnings=(_SYNTHETIC,))
        if not path.exists() and ":" in str(spec):
            return _from_function(str(spec))
        if path.suffix.lower() in DESCRIPTIONS and path.is_file():
            return _from_description(Description.read(path))
        split = SplitDescription(str(path), path.parent, path)
        check_paths(split)
        source = open_source(split)
        images = is_image_folder(path)
        warnings = (_BARE_IMAGES,) if images else ()
        return Dataset(str(path), {"calibration": lambda: source}, warnings=warnings, image_folder=images)

    @staticmethod
    def of(data: Any) -> Dataset:
        """A dataset from whatever a caller has: a `Dataset`, what `load` takes, or calibration samples."""
        if isinstance(data, Dataset):
            return data
        return Dataset.load(data) if isinstance(data, str | Path) else Dataset.from_arrays(data)

    @staticmethod
    def from_arrays(
        calibration: Any = None,
        *,
        train: Any = None,
        test: Any = None,
        metric: Metric | Callable[..., Any] | str | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> Dataset:
        """A dataset from memory.

        Each split is an array or {input name: array} whose first axis counts samples, (one of these, labels), or an
        iterable of samples or batches (`IterableSource`). `metric` is `top1`, `top5`, `mse`, `mae`, a
        `Metric`, or a function(outputs, labels) -> float.
        """
        given = {"calibration": calibration, "train": train, "test": test}
        sources = {name: source_from(data, name) for name, data in given.items() if data is not None}
        if not sources:
            raise error("D005", "the dataset has no samples")
        openers = {name: partial(_same, source) for name, source in sources.items()}
        return Dataset("data", openers, preprocessing, _metric_factory(metric) if metric is not None else None)

    def bind(self, inputs: Sequence[TensorSpec]) -> BoundDataset:
        """The dataset for a model with these inputs.

        The first sample of the calibration and train splits is checked against them, before any work: D003 (with
        both sides shown), D004, D005, D007. The test split is not opened.
        """
        if not inputs:
            raise error("D003", "the model has no inputs to feed", place=self.place)
        bound = BoundDataset(self, tuple(inputs))
        for name in ("calibration", "train"):
            if name in self.sources:
                bound.require(name).check()
        return bound

    def check(self, inputs: Sequence[TensorSpec]) -> None:
        """Raise what `bind` would raise."""
        self.bind(inputs)


@dataclass(frozen=True)
class BoundDataset:
    """A dataset whose splits give batches for one model. Splits are opened when first asked for."""

    dataset: Dataset
    inputs: tuple[TensorSpec, ...]
    _opened: dict[str, Split] = field(default_factory=dict, repr=False, compare=False)

    @property
    def calibration(self) -> Split | None:
        """The calibration split."""
        return self._split("calibration")

    @property
    def train(self) -> Split | None:
        """The train split."""
        return self._split("train")

    @property
    def test(self) -> Split | None:
        """The test split: for the final figures, after the last decision."""
        return self._split("test")

    @property
    def synthetic(self) -> bool:
        """Whether the samples are random numbers."""
        return self.dataset.synthetic

    def require(self, name: str) -> Split:
        """The split of this name; D005 when the dataset has none."""
        split = self._split(name)
        if split is None:
            help_text = did_you_mean(name, self.dataset.sources, "split")
            raise error("D005", f"the dataset has no split `{name}`", place=self.dataset.place, help=help_text)
        return split

    def metric(self) -> Metric | None:
        """The dataset's metric, new, or None if it names none."""
        return self.dataset.metric() if self.dataset.metric is not None else None

    def _split(self, name: str) -> Split | None:
        if name not in self._opened and name in self.dataset.sources:
            self._opened[name] = self._open(name)
        return self._opened.get(name)

    def _open(self, name: str) -> Split:
        source = self.dataset.sources[name]().bind(self.inputs)
        preprocessing = self.dataset.preprocessing
        if self.dataset.image_folder:
            preprocessing = Preprocessing.for_model(self.inputs[0])
        fit = Fit(self.inputs, f"split `{name}` of {self.dataset.place}", computed=preprocessing is not None)
        if preprocessing is None:
            return Split(name, source, fit)
        return Split(name, MappedSource(source, preprocessing.arrange), fit, preprocessing.normalize)


def _from_description(description: Description) -> Dataset:
    for split in description.splits.values():
        check_paths(split)
    openers = {name: cache(partial(open_source, split)) for name, split in description.splits.items()}
    metric = _described_metric(description) if description.metric is not None else None
    return Dataset(str(description.path), openers, description.preprocessing, metric)


def _described_metric(description: Description) -> Callable[[], Metric]:
    name = description.metric or ""
    if name == "map":
        from pruna_ir.data.coco_map import MeanAveragePrecision

        assert description.postprocess is not None
        return partial(MeanAveragePrecision, description.preprocessing or Preprocessing(), description.postprocess)
    if ":" in name:
        function = load_function(name, description.path.parent, description.path)
        return partial(FunctionMetric, function, name.rpartition(":")[2])
    return _metric_factory(name)


def _metric_factory(metric: Metric | Callable[..., Any] | str) -> Callable[[], Metric]:
    if isinstance(metric, str):
        if metric not in METRICS:
            raise error("D002", f"no metric is called `{metric}`", help=did_you_mean(metric, METRICS, "metric"))
        return METRICS[metric]
    if isinstance(metric, Metric):
        return partial(_same, metric)
    return partial(FunctionMetric, metric, getattr(metric, "__name__", "metric"))


def _same(value: Any) -> Any:
    return value


def _from_function(spec: str) -> Dataset:
    function = load_function(spec, Path.cwd(), spec)
    try:
        data = function()
    except Exception as failure:
        raise error("D008", f"the function failed: {type(failure).__name__}: {failure}", place=spec) from failure
    source = source_from(data, spec, again=function)
    return Dataset(spec, {"calibration": lambda: source})
