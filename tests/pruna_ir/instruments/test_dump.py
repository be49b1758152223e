from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
import pytest
import seeded_passes as seeded
from conv_chains import conv_bn_chain
from seeded_passes import Seeded, small_model

from pruna_ir.diagnostics import PrunaError
from pruna_ir.instruments.dump import SHOWN_LINES, DumpDir, PrintChanged
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager


def test_models_are_numbered_by_their_pass(tmp_path: Path) -> None:
    dump = DumpDir(tmp_path / "new" / "folder")
    PassManager.parse("dead-code,fuse-conv-bn,fuse").run(conv_bn_chain(2), instruments=[dump])
    names = ["000-input.onnx", "000-input.txt", "002-fuse-conv-bn.onnx", "002-fuse-conv-bn.txt"]
    assert [path.name for path in dump.written] == names
    assert sorted(path.name for path in dump.path.iterdir()) == names
    assert len(Model.load(dump.path / names[0]).graph.nodes) == 4
    assert len(Model.load(dump.path / names[2]).graph.nodes) == 2
    assert "[bn_0] y1 = BatchNormalization (c0, gamma0, beta0, mean0, variance0)" in (dump.path / names[1]).read_text()
    assert "BatchNormalization" not in (dump.path / names[3]).read_text()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PrunaError) as caught:
        PassManager.parse("fuse").run(small_model(), instruments=[DumpDir(tmp_path / "file" / "folder")])
    assert caught.value.diagnostic.code == "C003"


def printed(*passes: Seeded, model: Model | None = None) -> list[str]:
    texts: list[str] = []
    PassManager(passes).run(model or small_model(), instruments=[PrintChanged(texts.append)])
    return texts


def test_only_changes_are_printed() -> None:
    def rename(graph: gs.Graph) -> None:
        seeded.node(graph, "relu").op = "Abs"

    (text,) = printed(Seeded(seeded.nothing, says=False), Seeded(rename), Seeded(seeded.nothing, says=False))
    assert text.splitlines() == [
        "--- before 2 seeded",
        "+++ after 2 seeded",
        "@@ -3 +3 @@",
        "    [add] a = Add (x, b)",
        "-   [relu] r = Relu (a)",
        "+   [relu] r = Abs (a)",
        "    [exp] y = Exp (r)",
    ]


def test_changed_weights_show() -> None:
    (text,) = printed(Seeded(seeded.change_weights))
    assert "-   float[4] b = {1, 2, 3, 4}" in text
    assert "+   float[4] b = {2, 3, 4, 5}" in text


def test_changed_large_weights_show_by_their_hash() -> None:
    def negate(graph: gs.Graph) -> None:
        weight = graph.nodes[0].inputs[1]
        weight.values = -weight.values

    (text,) = printed(Seeded(negate), model=conv_bn_chain(1))
    removed, added = (line for line in text.splitlines() if "w0 =" in line and line[0] in "-+")
    assert removed.startswith("-   float[4,4,3,3] w0 = {144 values, hash ")
    assert removed[1:] != added[1:]


def test_long_differences_are_cut() -> None:
    def add_many(graph: gs.Graph) -> None:
        first = graph.nodes[0]
        for index in range(SHOWN_LINES + 10):
            output = gs.Variable(f"extra{index}", np.dtype("float32"), ["N", 4])
            graph.nodes.append(gs.Node("Abs", f"abs{index}", inputs=[first.outputs[0]], outputs=[output]))

    (text,) = printed(Seeded(add_many))
    assert len(text.splitlines()) == SHOWN_LINES + 3
    assert text.endswith("(more follows; --dump-dir writes all of it)")


def test_a_change_that_the_listing_does_not_hold_is_said_to_be_one() -> None:
    def retype(graph: gs.Graph) -> None:
        seeded.node(graph, "relu").outputs[0].shape = ["N", None]

    (text,) = printed(Seeded(retype))
    assert text == "--- 1 seeded: nothing that the listing shows has changed"
