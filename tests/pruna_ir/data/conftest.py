"""What the tests of datasets share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest

from pruna_ir.diagnostics import PrunaError
from pruna_ir.model.spec import TensorSpec

Refuses = Callable[..., AbstractContextManager[None]]
Spec = Callable[..., TensorSpec]


@pytest.fixture
def refuses() -> Refuses:
    """`with refuses("D003", "text in it"): …` passes when the block raises that diagnostic with all the texts."""

    @contextmanager
    def check(code: str, *texts: str) -> Iterator[None]:
        with pytest.raises(PrunaError) as caught:
            yield
        assert caught.value.diagnostic.code == code, str(caught.value)
        for text in texts:
            assert text in str(caught.value)

    return check


@pytest.fixture
def spec() -> Spec:
    """`spec("x", "N", 3, dtype="int64")`."""

    def build(name: str, *shape: int | str | None, dtype: str = "float32") -> TensorSpec:
        return TensorSpec(name, np.dtype(dtype), shape)

    return build
