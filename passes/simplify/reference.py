"""A model's outputs on one sample, against which a rewritten form of it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from pruna_ir.model.opset import relative_error
from pruna_ir.model.random_feeds import runnable_feeds
from pruna_ir.runtime.session import Session

if TYPE_CHECKING:
    from pruna_ir.pipeline.context import Context

Arrays = Mapping[str, np.ndarray]


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

    def wait(self) -> None:
        """Wait until the model has run; raises its refusal."""
        self._outcome.result()

    def largest_difference(self, proto: onnx.ModelProto) -> float:
        """Largest difference of a model's outputs, relative to the range of each; raises M009 if one does not run."""
        feeds, expected = self._outcome.result()
        return relative_error(expected, Session(proto, optimize=False).run(feeds))

    def _run(self, proto: onnx.ModelProto) -> tuple[Arrays, dict[str, np.ndarray]]:
        session = Session(proto, optimize=False)
        data = self.context.data
        split = data.calibration if data is not None and not data.synthetic else None
        if split is None:
            return runnable_feeds(session.run, session.inputs)
        feeds = next(iter(split.head(1).batches(1))).feeds
        return feeds, session.run(feeds)
