"""torchvision beside a torch without CUDA: the operators of its compiled extension that exports need, in Python.

The wheel on PyPI is linked against CUDA's libraries, so that its extension does not load next to a torch for the CPU,
and then `import torchvision` fails for want of `torchvision::nms`. With this the package imports, and detectors run
and are exported as with the real thing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width,"
    " int sampling_ratio, bool aligned) -> Tensor",
)
_KEPT: list[Any] = []  # torch forgets a library's operators when the library is collected


def import_torchvision() -> None:
    """Import torchvision, with the operators above where its own do not load."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    if "torchvision" in sys.modules or _extension_loads(torch):
        importlib.import_module("torchvision")
        return
    library = torch.library.Library("torchvision", "DEF")
    _KEPT.append(library)
    for schema in SCHEMAS:
        library.define(schema)
    importlib.import_module("torchvision")
    roi_align = importlib.import_module("torchvision.ops.roi_align")
    for module in (importlib.import_module("torchvision.extension"), roi_align):
        module._has_ops = _has_ops  # type: ignore[attr-defined]
    library.impl("nms", _nms, "CPU")
    library.impl("roi_align", roi_align._roi_align, "CPU")
    library.impl("roi_align", _shape_of_roi_align, "Meta")


def _extension_loads(torch: Any) -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise SystemExit("torchvision is not installed: see tests/benchmarks/requirements.txt")
    try:
        for path in Path(spec.origin).parent.glob("_C*.so"):
            torch.ops.load_library(str(path))
            return True
    except OSError:
        pass
    return False


def _has_ops() -> bool:
    return True


def _nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Indices of the boxes [n, 4] that no better one overlaps by more than the threshold, best first."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    overlap = sys.modules["torchvision.ops.boxes"].box_iou(boxes, boxes) > iou_threshold
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if not overlap[index, kept].any():
            kept.append(index)
    return torch.tensor(kept, dtype=torch.int64)


def _shape_of_roi_align(
    values: Any, rois: Any, scale: float, height: int, width: int, sampling_ratio: int, aligned: bool
) -> Any:
    return values.new_empty((rois.shape[0], values.shape[1], height, width))
