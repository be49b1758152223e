"""The YAML that describes a dataset, read strictly. `docs/datasets.md` is its reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pruna_ir.data.fields import Document, Section
from pruna_ir.data.metrics import METRICS
from pruna_ir.data.preprocess import COLORS, LAYOUTS, Preprocessing
from pruna_ir.data.resize import ANCHORS, INTERPOLATIONS, MODES, Resize
from pruna_ir.diagnostics import did_you_mean

SPLITS = ("calibration", "train", "test")
TASKS = ("classification", "detection", "regression", "custom")
METRIC_NAMES = (*METRICS, "map")
DECODERS = ("yolox",)


@dataclass(frozen=True)
class SplitDescription:
    """Where the samples and labels of one split are.

    `arrays` maps input names to array names. `labels` is an array of the .npz, or a file relative to `folder`.
    """

    place: str
    folder: Path
    source: Path
    array: str | None = None
    arrays: dict[str, str] | None = None
    labels: str | None = None
    annotations: Path | None = None


@dataclass(frozen=True)
class Postprocess:
    """How a detector's output becomes boxes.

    `score`: the least score that is kept; `iou`: above it, the weaker of two boxes of a class is dropped.
    """

    decoder: str
    strides: tuple[int, ...]
    score: float = 0.01
    iou: float = 0.65
    max_detections: int = 100


@dataclass(frozen=True)
class Description:
    """A whole dataset file, checked."""

    path: Path
    splits: dict[str, SplitDescription]
    task: str | None = None
    preprocessing: Preprocessing | None = None
    postprocess: Postprocess | None = None
    metric: str | None = None

    @staticmethod
    def read(path: Path) -> Description:
        """Read and check the file; D001 when it is not YAML, D002 when a key or value is wrong."""
        top = Document.read(path).top()
        task = top.text("task", choices=TASKS)
        splits = {name: _split(section) for name in SPLITS if (section := top.section(name)) is not None}
        preprocessing = _preprocessing(section) if (section := top.section("input")) is not None else None
        postprocess = _postprocess(section) if (section := top.section("postprocess")) is not None else None
        metric = top.text("metric")
        top.done()
        if not splits:
            raise top.required("calibration")
        if metric is not None and metric not in METRIC_NAMES and ":" not in metric:
            help_text = did_you_mean(metric, [*METRIC_NAMES, "file.py:function"], "metric")
            raise top.fault("metric", f"no metric is called `{metric}`", help_text)
        if metric == "map" and postprocess is None:
            raise top.required("postprocess")
        if preprocessing is not None and any(split.arrays for split in splits.values()):
            raise top.fault("input", "`input` preprocesses one image array, not several `arrays`")
        return Description(path, splits, task, preprocessing, postprocess, metric)


def _split(section: Section) -> SplitDescription:
    folder = section.document.path.parent
    source = section.text("source")
    annotations = section.text("annotations")
    split = SplitDescription(
        place=section.place(),
        folder=folder,
        source=folder / (source or ""),
        array=section.text("array"),
        arrays=section.texts("arrays"),
        labels=section.text("labels"),
        annotations=folder / annotations if annotations else None,
    )
    section.done()
    if source is None:
        raise section.required("source")
    if split.array is not None and split.arrays is not None:
        raise section.fault("arrays", "`array` and `arrays` exclude each other")
    if split.labels is not None and split.annotations is not None:
        raise section.fault("annotations", "`labels` and `annotations` exclude each other")
    return split


def _preprocessing(section: Section) -> Preprocessing:
    resize = section.section("resize")
    std = section.numbers("std") or (1.0,)
    if not all(std):
        raise section.fault("std", "`std` divides the pixels and cannot be 0")
    result = Preprocessing(
        layout=section.text("layout", "NCHW", choices=LAYOUTS) or "NCHW",
        color=section.text("color", choices=COLORS),
        resize=_resize(resize) if resize is not None else None,
        scale=section.number("scale", 1.0),
        mean=section.numbers("mean") or (0.0,),
        std=std,
    )
    section.done()
    return result


def _resize(section: Section) -> Resize:
    size = section.numbers("size")
    mode = section.text("mode", choices=MODES)
    short_side = section.integer("short_side", 0) or None
    resize = Resize(
        mode=mode or "",
        size=(int(size[0]), int(size[-1])) if size else (0, 0),
        anchor=section.text("anchor", "center", choices=ANCHORS) or "center",
        fill=section.integer("fill", 114),
        interpolation=section.text("interpolation", "bilinear", choices=INTERPOLATIONS) or "bilinear",
        short_side=short_side,
    )
    section.done()
    if mode is None:
        raise section.required("mode")
    if size is None or len(size) > 2 or any(side < 1 or side != int(side) for side in size):
        raise section.fault("size", "`size` must be [height, width] in pixels")
    if not 0 <= resize.fill <= 255:
        raise section.fault("fill", "`fill` must be a grey value from 0 to 255")
    if short_side is not None and (mode != "center-crop" or short_side < max(resize.size)):
        raise section.fault("short_side", "`short_side` belongs to `center-crop` and is at least as large as `size`")
    return resize


def _postprocess(section: Section) -> Postprocess:
    decoder = section.text("decoder", choices=DECODERS)
    strides = section.numbers("strides") or (8.0, 16.0, 32.0)
    result = Postprocess(
        decoder=decoder or "",
        strides=tuple(int(stride) for stride in strides),
        score=section.number("score", 0.01),
        iou=section.number("iou", 0.65),
        max_detections=section.integer("max_detections", 100),
    )
    section.done()
    if decoder is None:
        raise section.required("decoder")
    if any(stride < 1 or stride != int(stride) for stride in strides):
        raise section.fault("strides", "`strides` must be whole numbers of pixels")
    if result.max_detections < 1:
        raise section.fault("max_detections", "`max_detections` must be at least 1")
    return result
