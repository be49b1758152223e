"""What a quantized model was before."""

from __future__ import annotations

from small_graphs import samples, small_net

from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager

ALL = "quantize<guard=false>"


def quantized(model: Model, text: str = ALL) -> list[tuple[str, str, str]]:
    found = PassManager.parse(text).run(model, data=samples()).quantization
    assert found is not None
    return [(item.written, item.rounded, item.wanted) for item in found.counterparts(model)]


def test_every_kernel_has_its_float_tensor() -> None:
    assert quantized(small_net()) == [
        ("r1", "r1_dq", "r1"),
        ("c2", "c2_dq", "c2"),
        ("k", "k_dq", "k"),
        ("p", "p_dq", "p"),
        ("f", "f_dq", "f"),
        ("y", "y", "y"),
    ]


def test_output_of_the_graph_stands_behind_the_pair() -> None:
    model = small_net()
    model.graph.outputs.append(model.graph.tensors()["k"])
    assert ("k_float", "k", "k") in quantized(model)


def test_float_model_is_the_one_before_the_first_rounding() -> None:
    model = small_net()
    before = model.fingerprint()
    result = PassManager.parse(f"quantize<exclude=[c2];guard=false>,{ALL}").run(model, data=samples())
    assert result.quantization is not None
    assert result.quantization.reference.fingerprint() == before != model.fingerprint()


def test_nothing_quantized_nothing_kept() -> None:
    assert PassManager.parse("fuse").run(small_net()).quantization is None
