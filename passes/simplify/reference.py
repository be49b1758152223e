"""A model's outputs on one sample, against which a rewritten form of it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model.opset import relative_error
from pruna_ir.model.random_feeds import random_feeds
from pruna_ir.model.spec import TensorSpec
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.pipeline.context import Context

Arrays = Mapping[str, np.ndarray]

# What an open dimension is taken to be where there is no data: windows and images need room.
_TRIED_DIMS = (1, 2, 16, 64, 128, 256, 512)


class Reference:
    """Runs a model in the background, on the first calibration sample or else on random inputs; a context manager.

    All sessions run the nodes as they are written, ONNX Runtime's optimizations off.
    """

    def __init__(self, proto: onnx.ModelProto, context: Context) -> None:
        self.context = context
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._outcome: Future[tuple[Arrays, dict[str, np.ndarray]]] = self._pool.submit(self._run, proto)

    def __enter__(self) -> Reference:
        return self

    def __exit__(self, *failure: Any) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def largest_difference(self, proto: onnx.ModelProto) -> float:
        """Largest difference of a model's outputs, relative to the range of each; raises M009 if one does not run."""
        feeds, expected = self._outcome.result()
        return relative_error(expected, Session(proto, optimize=False).run(feeds))

    def _run(self, proto: onnx.ModelProto) -> tuple[Arrays, dict[str, np.ndarray]]:
        session = Session(proto, optimize=False)
        data = self.context.data
        split = data.calibration if data is not None and not data.synthetic else None
        if split is None:
            return _runnable_feeds(session)
        feeds = next(iter(split.head(1).batches(1))).feeds
        return feeds, session.run(feeds)


def _runnable_feeds(session: Session) -> tuple[Arrays, dict[str, np.ndarray]]:
    """Random feeds that the model accepts, and its outputs; raises its last refusal.

    First with one size for all open dimensions, then with 1 for the first of each input, which often is the batch.
    """
    single = [_one_sample(spec) for spec in session.inputs]
    refusal: PrunaError | None = None
    for specs in (session.inputs, single):
        for dim in _TRIED_DIMS:
            feeds = random_feeds(specs, 0, dim)
            try:
                return feeds, session.run(feeds)
            except PrunaError as failure:
                refusal = failure
    assert refusal is not None
    raise refusal


def _one_sample(spec: TensorSpec) -> TensorSpec:
    """The input with its first open dimension closed to 1."""
    opened = [axis for axis, dim in enumerate(spec.shape) if not isinstance(dim, int)]
    return replace(spec, shape=tuple(1 if opened and axis == opened[0] else dim for axis, dim in enumerate(spec.shape)))
