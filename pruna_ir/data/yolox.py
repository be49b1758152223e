"""YOLOX's output as boxes: grid decoding, and class-wise non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pruna_ir.data.description import Postprocess
from pruna_ir.diagnostics import error

CANDIDATES = 1000
"""Boxes of one image that enter the suppression, the best first. A trained nano has some 800 above a score of 0.01;
a broken model may have all of them, which must not cost minutes."""


# Boxes that overlap less are not found, by COCO's rules; and sizes beyond this logarithm are no sizes.
_LEAST_OVERLAP = 0.5
_LARGEST_LOG = 20.0


@dataclass(frozen=True)
class Detections:
    """Boxes of one image, the best first: float64 [n, 4] as (x1, y1, x2, y2) in pixels of the model's input, their
    scores [n] and class numbers [n] from 0."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


@dataclass(frozen=True)
class YoloxDecoder:
    """Decodes [N, anchors, 5 + classes]: centre, log size, objectness and class scores (Ge et al., arXiv:2107.08430).

    Objectness and class scores have been through their sigmoid in the model; every class of a box whose product with
    the objectness passes the threshold is a detection of its own.
    """

    options: Postprocess

    def __call__(self, raw: np.ndarray, height: int, width: int) -> list[Detections]:
        """The detections of every image of a batch, whose inputs had `height` x `width` pixels."""
        offsets, strides = self._grid(height, width)
        if raw.ndim != 3 or raw.shape[1] != len(strides) or raw.shape[2] < 6:
            message = (
                f"the output {list(raw.shape)} is not YOLOX's [N, {len(strides)}, 5 + classes] at {height}x{width}"
            )
            raise error("D007", message, help="check `postprocess.strides` and the order of the model's outputs")
        with np.errstate(over="ignore", invalid="ignore"):  # a broken model may give huge sizes
            centres = (raw[..., :2] + offsets) * strides
            halves = np.exp(raw[..., 2:4].astype(np.float64)) * strides / 2
            boxes = np.concatenate([centres - halves, centres + halves], axis=2)
            scores = raw[..., 4:5] * raw[..., 5:]
        return [self._select(*image) for image in zip(boxes, scores, strict=True)]

    def distance(self, found: np.ndarray, wanted: np.ndarray) -> tuple[float, float] | None:
        """The squared error of all scores and boxes [N, anchors, 5 + classes], and the squares of the wanted scores.

        A box counts as much as its two scores, times the square of the share of thresholds, from 0.5 to 1, that its
        overlap with the wanted one misses. So an error in the background is none. None for other shapes.
        """
        if wanted.ndim != 3 or wanted.shape[2] < 6 or found.shape != wanted.shape:
            return None
        before, after = (raw[..., 4:5] * raw[..., 5:] for raw in (wanted, found))
        with np.errstate(over="ignore", invalid="ignore"):  # a broken model gives a distance that is not finite
            missed = np.minimum((1 - _overlap(found[..., :4], wanted[..., :4])) / (1 - _LEAST_OVERLAP), 1.0)
            boxes = (before * after).sum(axis=-1) * np.square(missed)
            return float(np.square(after - before).sum() + boxes.sum()), float(np.square(before).sum())

    def _grid(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        offsets, strides = [], []
        for stride in self.options.strides:
            rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
            offsets.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
            strides.append(np.full((rows.size, 1), stride))
        return np.concatenate(offsets), np.concatenate(strides)

    def _select(self, boxes: np.ndarray, scores: np.ndarray) -> Detections:
        anchors, classes = np.nonzero(scores > self.options.score)
        kept = scores[anchors, classes].astype(np.float64)
        boxes = boxes[anchors]
        order = np.argsort(-kept, kind="stable")
        order = order[np.isfinite(boxes[order]).all(1)][:CANDIDATES]
        boxes, kept, classes = boxes[order], kept[order], classes[order]
        chosen = suppress(boxes, classes, self.options.iou, self.options.max_detections)
        return Detections(boxes[chosen], kept[chosen], classes[chosen])


def _overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes of the same anchors, [..., 4]: undecoded, since strides and offsets cancel."""
    corners = []
    for one in (boxes.astype(np.float64), others.astype(np.float64)):
        half = np.exp(np.clip(one[..., 2:], -_LARGEST_LOG, _LARGEST_LOG)) / 2
        corners.append((one[..., :2] - half, one[..., :2] + half))
    (low, high), (other_low, other_high) = corners
    shared = np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None).prod(-1)
    return np.asarray(shared / ((high - low).prod(-1) + (other_high - other_low).prod(-1) - shared))


def suppress(boxes: np.ndarray, classes: np.ndarray, iou: float, limit: int) -> np.ndarray:
    """Greedy non-maximum suppression within each class.

    `boxes`: [n, 4] corners, the best first. Returns the positions of at most `limit` boxes that stay, in order.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    stay: list[int] = []
    rest = np.arange(len(boxes))
    while rest.size and len(stay) < limit:
        best, rest = rest[0], rest[1:]
        stay.append(int(best))
        corners = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(boxes[best, :2], boxes[rest, :2])
        shared = np.clip(corners, 0, None).prod(1)
        # shared / union <= iou, written without a division by an empty union
        apart = shared <= iou * (areas[best] + areas[rest] - shared)
        rest = rest[apart | (classes[rest] != classes[best])]
    return np.array(stay, np.intp)
