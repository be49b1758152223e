"""Numbers for dimensions that a model leaves open."""

from __future__ import annotations

import pytest
from onnx_text import model_from

from pruna_ir.backends.fixed_shapes import bind_batch, bind_sizes, close_outputs, require_sizes
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model


def model() -> Model:
    """Two open sizes, one of them in two inputs."""
    text = "g (float[n,length,4] x, float[n,length] mask) => (float[n,length,4] y) { y = Relu(x) m = Relu(mask) }"
    return model_from(text)


def shapes(bound: Model) -> list[tuple[int | str | None, ...]]:
    return [spec.shape for spec in [*bound.inputs(), *bound.outputs()]]


def test_batch_and_sizes() -> None:
    bound = model()
    bind_sizes(bound, {"length": 7})
    bind_batch(bound, 2)
    require_sizes(bound, "back-end<shapes=[{}:128]>")
    close_outputs(bound)
    assert shapes(bound) == [(2, 7, 4), (2, 7), (2, 7, 4)]


def test_a_size_that_is_kept() -> None:
    bound = model()
    bind_batch(bound, 2, keep=["n"])
    assert shapes(bound)[0] == ("n", "length", 4)


def test_no_sizes_change_nothing() -> None:
    bound = model()
    bind_sizes(bound, {})
    assert shapes(bound)[0] == ("n", "length", 4)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(PrunaError) as failure:
        bind_sizes(model(), {"lenght": 7})
    assert failure.value.diagnostic.code == "P004"
    assert failure.value.diagnostic.help == "known: length, n"


def test_what_stays_open_is_refused() -> None:
    bound = model()
    bind_batch(bound, 1)
    with pytest.raises(PrunaError) as failure:
        require_sizes(bound, "back-end<shapes=[{}:128]>")
    found = failure.value.diagnostic
    assert found.code == "E005"
    assert found.help == "name it: `back-end<shapes=[length:128]>`, or fix the shape in the model"
    assert found.notes == ("x: float32[1, length, 4]", "mask: float32[1, length]")
