"""The weights of a group, as criteria see them."""

from __future__ import annotations

import numpy as np
from channel_nets import images, normalized_net, residual_net
from onnx_text import model_from, weight

from pruna_ir.analysis.axes import analyze
from pruna_ir.model import Model
from pruna_ir.passes.pruning.criteria.slices import GroupWeights
from pruna_ir.passes.pruning.criteria.views import Views
from pruna_ir.runtime.capture import with_outputs
from pruna_ir.runtime.session import Session


def view(model: Model, number: int = 0, feeds: np.ndarray | None = None) -> GroupWeights:
    analysis = analyze(model)
    views = Views(model, analysis)
    if feeds is not None:
        views.measure_reads(analysis.free, [{"x": part} for part in np.split(feeds, 4)])
    return views.of(analysis.free[number])


def test_writers_readers_and_scales() -> None:
    model = normalized_net()
    found = view(model)
    tensors = {
        name: np.asarray(tensor.values) for name, tensor in model.graph.tensors().items() if hasattr(tensor, "values")
    }
    (writer,), (reader,), (scale,) = found.producers, found.consumers, found.scales
    np.testing.assert_array_equal(writer.values, tensors["w"].reshape(8, -1))
    np.testing.assert_array_equal(reader.values, tensors["v"].transpose(1, 0, 2, 3).reshape(8, -1))
    np.testing.assert_array_equal(scale.values[:, 0], tensors["scale"])
    assert writer.units.tolist() == list(range(8))


def test_stream_has_all_that_touches_it() -> None:
    found = view(residual_net())
    assert (len(found.producers), len(found.consumers), found.size) == (3, 3, 16)


def test_unit_of_several_columns() -> None:
    """A Flatten spreads each channel over four columns of the product behind it."""
    text = "g (float[n,3,2,2] x) => (float[n,5] y) { a = Conv(x, w)  f = Flatten(a)  y = MatMul(f, v) }"
    values = weight(24, 5, seed=1)
    found = view(model_from(text, w=weight(6, 3, 1, 1), v=values))
    (reader,) = found.consumers
    assert reader.units.tolist() == np.repeat(np.arange(6), 4).tolist()
    np.testing.assert_array_equal(reader.values, values)


def test_what_layers_read_is_measured() -> None:
    model, feeds = residual_net(), images(8)
    inner = next(number for number, group in enumerate(analyze(model).free) if group.size == 24)
    found = view(model, inner, feeds)
    values = Session(with_outputs(model, ["a"])).run({"x": feeds})["a"].astype(np.float64)
    expected = np.sqrt(np.square(values).mean(axis=(0, 2, 3)))
    (reader,) = found.consumers
    assert reader.reads is not None
    np.testing.assert_allclose(reader.reads, expected, rtol=1e-5)
    assert view(model, inner).consumers[0].reads is None
