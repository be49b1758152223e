"""Axes of operators that read at given places."""

from __future__ import annotations

import numpy as np
from axis_checks import check_groups
from axis_nets import net, sizes
from onnx_text import positive, weight

WEIGHTS = {"a": weight(8, 3, 1, 1), "b": weight(5, 8, 1, 1)}


def test_grid_sample_carries_channels() -> None:
    ends = "g (float[2,3,6,6] x, float[2,4,7,2] grid) => (float[2,5,4,7] y)"
    body = "h = Conv(x, a) s = GridSample(h, grid) y = Conv(s, b)"
    assert sizes(check_groups(net(body, WEIGHTS, ends=ends))) == {"h": 8}


def test_a_grid_that_a_layer_makes_stays() -> None:
    ends = "g (float[2,3,6,6] x) => (float[2,5,6,6] y)"
    body = "h = Conv(x, a) o = Conv(h, c) grid = Transpose<perm=[0,2,3,1]>(o) s = GridSample(h, grid) y = Conv(s, b)"
    assert sizes(check_groups(net(body, WEIGHTS, ends=ends, c=weight(2, 8, 1, 1) / 9))) == {"h": 8}


def test_regions_carry_channels() -> None:
    ends = "g (float[2,3,6,6] x) => (float[3,5,2,2] y)"
    body = "h = Conv(x, a) s = RoiAlign<output_height=2,output_width=2>(h, corners, of) y = Conv(s, b)"
    corners = np.cumsum(positive(3, 4), axis=1)
    analysis = check_groups(net(body, WEIGHTS, ends=ends, corners=corners, of=np.array([0, 1, 0])))
    assert sizes(analysis) == {"h": 8}


def test_pooled_regions_carry_channels() -> None:
    ends = "g (float[2,3,6,6] x) => (float[3,5,2,2] y)"
    body = "h = Conv(x, a) s = MaxRoiPool<pooled_shape=[2,2]>(h, corners) y = Conv(s, b)"
    corners = np.array([[0, 0, 0, 3, 3], [1, 1, 2, 5, 5], [0, 2, 2, 4, 5]], np.float32)
    assert sizes(check_groups(net(body, WEIGHTS, ends=ends, corners=corners))) == {"h": 8}
