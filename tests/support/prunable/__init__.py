"""Random networks whose channels can be removed: blocks of real architectures in random order and form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from idioms.builder import SHAPES, TROUBLES, Builder
from idioms.network import NEWEST, TOLERANCE, Network

from pruna_ir.model import Model
from prunable import images, rows
from prunable.features import Block, Features, layer

BLOCKS: dict[str, Block] = {block.__name__.replace("_", "-"): block for block in (*images.BLOCKS, *rows.BLOCKS)}
# Images of 2 x 4 x 4 pixels: large enough that a border differs from the middle.
IMAGE = (2, 3, 4, 4)


@st.composite
def networks(draw: st.DrawFn, *kinds: str, most: int = 4) -> Network:
    """A network of up to `most` blocks of these kinds, on images, and at times on the tokens or rows made of them."""
    builder = Builder(
        draw,
        opset=draw(st.integers(13, NEWEST)),
        dtype=np.dtype("float32"),
        random=np.random.default_rng(draw(st.integers(0, 9))),
        sizes=draw(st.sampled_from(SHAPES)),
        trouble=draw(st.sampled_from(TROUBLES)),
        constant_nodes=draw(st.integers(1, 6)) == 6,
    )
    x = layer(builder, Features(builder.source(*IMAGE), IMAGE), builder.pick(*images.EVEN))
    on_images = [BLOCKS[kind] for kind in kinds if BLOCKS[kind] in images.BLOCKS]
    on_rows = [BLOCKS[kind] for kind in kinds if BLOCKS[kind] in rows.BLOCKS]
    if on_images:
        x = _grow(builder, x, on_images, most)
    form = builder.pick("tokens", "rows") if on_rows and not on_images else builder.pick("tokens", "rows", "images")
    if form != "images":
        x = (rows.tokens if form == "tokens" else rows.flatten)(builder, x)
        x = _grow(builder, x, on_rows, 2) if on_rows else layer(builder, x, 4)
        if form == "tokens" and builder.chance(2):
            x = rows.pooled(builder, x)
        if len(x.shape) == 2 and builder.chance(3):
            x = images.plain(builder, rows.unflatten(builder, x))
    return Network(Model.load(builder.finish(layer(builder, x, 3).name)), builder.feeds, TOLERANCE["float32"])


def _grow(builder: Builder, x: Features, blocks: Sequence[Block], most: int) -> Features:
    for _ in range(builder.size(1, most)):
        x = builder.pick(*blocks)(builder, x)
    return x


__all__ = ["BLOCKS", "Network", "networks"]
