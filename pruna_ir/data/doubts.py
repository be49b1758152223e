"""What makes decisions doubtful that rest on data: too little variety to calibrate on, or no labels to score with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from pruna_ir.data.dataset import BoundDataset
from pruna_ir.data.split import Split

# Samples that are looked at: more of the same at the beginning are the exception in a sound split.
LOOKED_AT = 16


def doubts(data: BoundDataset) -> Iterator[str]:
    """A sentence for each thing that is wrong with the calibration split; raises what opening it raises."""
    calibration = data.require("calibration")
    count, alike = _look(calibration)
    if count == 1:
        yield "the calibration split has one sample: what is decided holds for that, and perhaps for no other"
    elif alike:
        whole = calibration.size is not None and calibration.size <= count
        which = f"all {count} calibration samples" if whole else f"the first {count} calibration samples"
        yield f"{which} are equal: what is decided holds for them, and perhaps for no others"
    metric = data.metric()
    if metric is not None and metric.needs_labels and not calibration.labelled:
        yield f"{metric.name} needs labels, and the calibration split has none: agreement with the float model counts"


def _look(calibration: Split) -> tuple[int, bool]:
    """How many of the first samples there are, and whether they are all alike; stops at the first that is not."""
    count = 1
    for one, other in pairwise(feeds for feeds, _ in calibration.head(LOOKED_AT).rows()):
        count += 1
        if not all(np.array_equal(one[name], other[name]) for name in one):
            return count, False
    return count, True
