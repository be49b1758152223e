"""Layers read from a builder's log, and what is intended compared with them."""

from __future__ import annotations

from pruna_ir.backends.tensorrt.build_log import BuiltLayer, compare, read_layers
from pruna_ir.backends.tensorrt.precision import Layer


def side(*types: str) -> str:
    parts = (
        f"{{ Name: t{index}, Dimensions: [1,16,8,8], Datatype: {kind}, Format: x }}" for index, kind in enumerate(types)
    )
    return f"[ {', '.join(parts)}]" if types else "[]"


def line(name: str, kind: str, inputs: tuple[str, ...], constants: tuple[str, ...], *nodes: str) -> str:
    listed = "\x1f".join(f"[ONNX Layer: {node}]" for node in nodes)
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: {side(*inputs)}, Constants: {side(*constants)}, "
        f"Outputs: {side('Float')}, TacticName: , StreamId: 0, Metadata: {listed}"
    )


LOG = "\n".join(
    [
        "[VERBOSE] Layers:",
        line("old", "gemm", ("Float",), ("Float",), "first"),
        "",
        "[VERBOSE] something else",
        "[VERBOSE] Layers:",
        line("__myl_MulRoun_0", "kgen", ("Float",), ("Float",), "q", "conv [1]"),
        line("conv [1]_myl0_2", "correlation", ("Int8",), ("Int8", "Float", "Float"), "conv [1]", "w, DQ"),
        line("fc", "gemm", ("Float", "Int8"), ("Int8",), "fc"),
        line("__myl_CastMulCastFc_3", "runtime_fusion", ("Int8",), ("Float", "Int8"), "slow"),
        line("__myl_FcAdd_4", "runtime_fusion", ("Int8",), ("Int8", "Float"), "fast"),
        line("two", "gemm", ("Int8", "Int8"), (), "product"),
        "Bindings:",
    ]
)


def test_layers_of_the_last_engine() -> None:
    found = read_layers(LOG)
    assert [layer.kind for layer in found] == [
        "kgen",
        "correlation",
        "gemm",
        "runtime_fusion",
        "runtime_fusion",
        "gemm",
    ]
    assert found[1] == BuiltLayer(
        "conv [1]_myl0_2", "correlation", ("Int8",), ("Int8", "Float", "Float"), frozenset({"conv [1]", "w, DQ"})
    )


def test_log_without_layers() -> None:
    assert read_layers("[ERROR] nothing\n") == []


def test_what_is_quantized_and_runs_in_float_is_told() -> None:
    names = ("conv [1]", "fc", "slow", "fast", "product", "gone", "q")
    outcome = compare([Layer(name, "Conv", "int8") for name in names], read_layers(LOG))
    assert outcome.missed == {
        "fc": "it is built as gemm of Float, Int8 by Int8",
        "slow": "it is built as runtime_fusion of Int8 by Float, Int8",
        "gone": "no layer of the engine multiplies for it",
        "q": "no layer of the engine multiplies for it",
    }
    assert str(outcome) == "3 of 7 layers that are quantized run in 8 bits"


def test_floats_and_weights_alone_are_not_held_to_it() -> None:
    layers = [Layer("fc", "Gemm", precision) for precision in ("fp32", "fp16", "int8-weights")]
    assert compare(layers, read_layers(LOG)).intended == 0


def test_8_bit_floats_are() -> None:
    log = "Layers:\n" + line("m", "gemm", ("FP8",), ("FP8",), "m")
    layers = [Layer("m", "MatMul", "fp8"), Layer("n", "MatMul", "fp8")]
    assert list(compare(layers, read_layers(log)).missed) == ["n"]
