"""Slices of one tensor -> Concat."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pruna_ir.passes.fusion.bypass import erase_unread
from pruna_ir.passes.fusion.layout.slicing import indices, slices
from pruna_ir.pipeline.rewriter import Rewriter
from pruna_ir.pipeline.rules import Match, Rule, constants, producer
from pruna_ir.remarks import Reason

# The indices are stored; the nodes that go take about as many bytes as this many of them.
_MOST_INDICES = 512


@dataclass(frozen=True)
class FuseRoll(Rule):
    """Gather the indices that Slices of one tensor take and a Concat puts together again, as torch.roll does.

        before   Concat(Slice(x[1,8,4], axis 1, 3:), Slice(x, axis 1, :3), axis 1)
        after    Gather(x, [3,4,5,6,7,0,1,2], axis 1)

    Each value is copied once instead of twice.

    Does not fire if starts, ends, axes or steps are computed, if a Slice cuts another axis, if the size along the axis
    is not known, if more than 512 indices would be stored, or if others read all of the Slices.
    """

    name: ClassVar[str] = "fuse-roll"
    roots: ClassVar[tuple[str, ...]] = ("Concat",)

    def match(self, root: gs.Node) -> Match | None:
        parts = [producer(tensor, "Slice") for tensor in root.inputs]
        cuts = [part for part in parts if part is not None]
        if len(cuts) < 2 or len(cuts) < len(parts) or any(cut.inputs[0] is not cuts[0].inputs[0] for cut in cuts):
            return None
        return {"concat": root, "cuts": cuts, "source": cuts[0].inputs[0]}

    def check(self, match: Match, rewriter: Rewriter) -> Reason | None:
        concat, cuts, source = match["concat"], match["cuts"], match["source"]
        for cut in cuts:
            reason = constants(tensor for tensor in cut.inputs[1:] if not tensor.is_empty())
            if reason is not None:
                return reason
        if source.shape is None:
            return Reason("the shape of `{}` is not known", source.name)
        rank = len(source.shape)
        axis = concat.attrs["axis"] % rank
        size = source.shape[axis]
        if not isinstance(size, int):
            return Reason("axis {} of `{}` is not known as a number", axis, source.name)
        taken = []
        for cut in cuts:
            places = slices(cut)
            if [place % rank for place, _ in places] != [axis]:
                return Reason("`{}` does not cut axis {} alone", cut.outputs[0].name, axis)
            taken.append(indices(size, places[0][1]))
        match["axis"], match["indices"] = axis, list(itertools.chain(*taken))
        if len(match["indices"]) > _MOST_INDICES:
            return Reason("{} indices would be stored", len(match["indices"]))
        ours = (cut.outputs[0] for cut in cuts if rewriter.owns(cut) and not rewriter.is_output(cut.outputs[0]))
        if not any(all(reader is concat for reader in tensor.outputs) for tensor in ours):
            return Reason("others read all parts of `{}`", concat.outputs[0].name)
        return None

    def rewrite(self, match: Match, rewriter: Rewriter) -> None:
        concat, output = match["concat"], match["concat"].outputs[0]
        stored = rewriter.constant(f"{output.name}_indices", np.array(match["indices"], np.int64))
        gather = gs.Node("Gather", name=concat.name, attrs={"axis": match["axis"]}, inputs=[match["source"], stored])
        rewriter.insert(gather, before=concat)
        rewriter.erase(concat)
        gather.outputs.append(output)
        rewriter.touch(gather)
        for cut in {id(cut): cut for cut in match["cuts"]}.values():
            erase_unread(cut, rewriter)
