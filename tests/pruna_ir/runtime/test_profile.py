"""Times of nodes."""

from __future__ import annotations

import numpy as np
from onnx_text import model_from
from small_graphs import samples, small_net

from pruna_ir.runtime.profile import node_times


def test_every_kernel_is_found_by_what_its_first_node_writes() -> None:
    times = node_times(small_net(), {"x": samples(1)}, runs=3)
    assert {"c1", "c2", "y"} <= set(times)
    assert "r1" not in times  # part of the convolution before it
    assert all(time >= 0 for time in times.values())


def test_nodes_without_names() -> None:
    text = "g (float[4,4] x) => (float[4,4] z) { y = MatMul(x, x) z = Relu(y) }"
    assert set(node_times(model_from(text), {"x": np.ones((4, 4), np.float32)}, runs=1)) == {"y", "z"}
