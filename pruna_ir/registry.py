"""Names to things: an explicit table that imports nothing until a name is asked for, and other packages' entry points.

Adding a pass is adding a line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pruna_ir.diagnostics import did_you_mean, error

if TYPE_CHECKING:
    from pruna_ir.pipeline.pass_base import Pass

# Rules that `fuse` runs together to a fixed point; each is also a pass of its own.
FUSION_RULES: dict[str, str] = {
    "remove-noop": "pruna_ir.passes.fusion.remove_noop:RemoveNoop",
    "join-clips": "pruna_ir.passes.fusion.join_clips:JoinClips",
    "join-transposes": "pruna_ir.passes.fusion.layout.join_transposes:JoinTransposes",
    "join-reshapes": "pruna_ir.passes.fusion.layout.join_reshapes:JoinReshapes",
    "fuse-reduce-reshape": "pruna_ir.passes.fusion.fuse_reduce_reshape:FuseReduceReshape",
    "join-casts": "pruna_ir.passes.fusion.join_casts:JoinCasts",
    "join-slices": "pruna_ir.passes.fusion.layout.join_slices:JoinSlices",
    "join-concats": "pruna_ir.passes.fusion.layout.join_concats:JoinConcats",
    "bypass-concat": "pruna_ir.passes.fusion.layout.bypass_concat:BypassConcat",
    "split-stack": "pruna_ir.passes.fusion.layout.split_stack:SplitStack",
    "push-transposes": "pruna_ir.passes.fusion.layout.push_transposes:PushTransposes",
    "push-reshapes": "pruna_ir.passes.fusion.layout.push_reshapes:PushReshapes",
    "fold-scalar-chains": "pruna_ir.passes.fusion.fold_scalar_chains:FoldScalarChains",
    "fuse-conv-bn": "pruna_ir.passes.fusion.fuse_conv_bn:FuseConvBn",
    "fuse-conv-affine": "pruna_ir.passes.fusion.fuse_conv_affine:FuseConvAffine",
    "fuse-norm-affine": "pruna_ir.passes.fusion.fuse_norm_affine:FuseNormAffine",
    "fold-scale": "pruna_ir.passes.fusion.fold_scale:FoldScale",
    "fuse-matmul-add": "pruna_ir.passes.fusion.fuse_matmul_add:FuseMatmulAdd",
    "flatten-matmul": "pruna_ir.passes.fusion.flatten_matmul:FlattenMatmul",
    "fuse-roll": "pruna_ir.passes.fusion.layout.fuse_roll:FuseRoll",
    "fuse-space-to-depth": "pruna_ir.passes.fusion.layout.fuse_space_to_depth:FuseSpaceToDepth",
    "fuse-focus": "pruna_ir.passes.fusion.fuse_focus:FuseFocus",
    "fuse-pad-conv": "pruna_ir.passes.fusion.fuse_pad_conv:FusePadConv",
    "fuse-scale-shift-conv": "pruna_ir.passes.fusion.fuse_scale_shift_conv:FuseScaleShiftConv",
    "fuse-bn-conv": "pruna_ir.passes.fusion.fuse_bn_conv:FuseBnConv",
    "fuse-convtranspose-bn": "pruna_ir.passes.fusion.fuse_convtranspose_bn:FuseConvtransposeBn",
    "fuse-gemm-bn": "pruna_ir.passes.fusion.fuse_gemm_bn:FuseGemmBn",
    "fuse-conv-conv": "pruna_ir.passes.fusion.fuse_conv_conv:FuseConvConv",
    "fuse-matmul-matmul": "pruna_ir.passes.fusion.fuse_matmul_matmul:FuseMatmulMatmul",
    "merge-shared-input": "pruna_ir.passes.fusion.merge_shared_input:MergeSharedInput",
    "merge-parallel-branches": "pruna_ir.passes.fusion.merge_parallel_branches:MergeParallelBranches",
}

# Rules that `recognize` runs together to a fixed point, in this order; each is also a pass of its own.
RECOGNITION_RULES: dict[str, str] = {
    "recognize-gelu": "pruna_ir.passes.recognition.recognize_gelu:RecognizeGelu",
    "recognize-hard-sigmoid": "pruna_ir.passes.recognition.recognize_hard_sigmoid:RecognizeHardSigmoid",
    "recognize-hard-swish": "pruna_ir.passes.recognition.recognize_hard_swish:RecognizeHardSwish",
    "recognize-layer-norm": "pruna_ir.passes.recognition.recognize_layer_norm:RecognizeLayerNorm",
    "recognize-instance-norm": "pruna_ir.passes.recognition.recognize_instance_norm:RecognizeInstanceNorm",
    "recognize-rms-norm": "pruna_ir.passes.recognition.recognize_rms_norm:RecognizeRmsNorm",
    "recognize-group-norm": "pruna_ir.passes.recognition.recognize_group_norm:RecognizeGroupNorm",
    "recognize-l2-norm": "pruna_ir.passes.recognition.recognize_l2_norm:RecognizeL2Norm",
    "recognize-unlimited-softplus": (
        "pruna_ir.passes.recognition.recognize_unlimited_softplus:RecognizeUnlimitedSoftplus"
    ),
    "recognize-mish": "pruna_ir.passes.recognition.recognize_mish:RecognizeMish",
    "recognize-softplus": "pruna_ir.passes.recognition.recognize_softplus:RecognizeSoftplus",
    "recognize-softsign": "pruna_ir.passes.recognition.recognize_softsign:RecognizeSoftsign",
    "recognize-swish": "pruna_ir.passes.recognition.recognize_swish:RecognizeSwish",
    "recognize-rotary": "pruna_ir.passes.recognition.recognize_rotary:RecognizeRotary",
    "recognize-attention": "pruna_ir.passes.recognition.recognize_attention:RecognizeAttention",
}

# Rules that write operators out for back ends that lack them, in this order; each is also a pass of its own.
DECOMPOSITION_RULES: dict[str, str] = {
    "restore-dynamic": "pruna_ir.passes.decomposition.restore_dynamic:RestoreDynamic",
    "unroll-recurrent": "pruna_ir.passes.decomposition.unroll_recurrent:UnrollRecurrent",
    "write-out-einsum": "pruna_ir.passes.decomposition.write_out_einsum:WriteOutEinsum",
    "write-out-grid-sample": "pruna_ir.passes.decomposition.write_out_grid_sample:WriteOutGridSample",
    "write-out-integer-products": ("pruna_ir.passes.decomposition.write_out_integer_products:WriteOutIntegerProducts"),
    "write-out-quantization": "pruna_ir.passes.decomposition.write_out_quantization:WriteOutQuantization",
    "write-out-lp-pool": "pruna_ir.passes.decomposition.write_out_lp_pool:WriteOutLpPool",
    "write-out-dilated-pooling": ("pruna_ir.passes.decomposition.write_out_dilated_pooling:WriteOutDilatedPooling"),
    "split-pooling": "pruna_ir.passes.decomposition.split_pooling:SplitPooling",
}

PASSES: dict[str, str] = {
    "raise-opset": "pruna_ir.passes.simplify.raise_opset:RaiseOpset",
    "onnxsim": "pruna_ir.passes.simplify.onnxsim:Onnxsim",
    "fold-constants": "pruna_ir.passes.simplify.fold_constants:FoldConstants",
    "fold-large-constants": "pruna_ir.passes.simplify.fold_large_constants:FoldLargeConstants",
    "inline-branches": "pruna_ir.passes.simplify.inline_branches:InlineBranches",
    "drop-outputs": "pruna_ir.passes.simplify.drop_outputs:DropOutputs",
    "unroll-loops": "pruna_ir.passes.simplify.unroll_loops:UnrollLoops",
    "fold-shapes": "pruna_ir.passes.simplify.fold_shapes:FoldShapes",
    "deduplicate": "pruna_ir.passes.simplify.deduplicate:Deduplicate",
    "dead-code": "pruna_ir.passes.simplify.dead_code:DeadCode",
    "recognize": "pruna_ir.passes.recognition.recognize:Recognize",
    "expand": "pruna_ir.passes.recognition.expand:Expand",
    "fuse": "pruna_ir.passes.fusion.fuse:Fuse",
    "prune-channels": "pruna_ir.passes.pruning.prune_channels:PruneChannels",
    "equalize": "pruna_ir.passes.quantization.equalization.equalize:Equalize",
    "absorb-bias": "pruna_ir.passes.quantization.equalization.absorb_bias:AbsorbBias",
    "smooth": "pruna_ir.passes.quantization.equalization.smooth:Smooth",
    "pool-means": "pruna_ir.passes.quantization.pool_means:PoolMeans",
    "quantize": "pruna_ir.passes.quantization.quantize:Quantize",
    "import-calibration": "pruna_ir.passes.quantization.import_calibration:ImportCalibration",
    "tune-ranges": "pruna_ir.passes.quantization.tune_ranges:TuneRanges",
    "correct-bias": "pruna_ir.passes.quantization.correct_bias:CorrectBias",
    "restore-qdq": "pruna_ir.passes.quantization.restore_qdq:RestoreQdq",
    "retarget-qdq": "pruna_ir.passes.quantization.retarget_qdq:RetargetQdq",
    "round-weights": "pruna_ir.passes.quantization.round_weights:RoundWeights",
    "store-weights": "pruna_ir.passes.quantization.store_weights:StoreWeights",
    "lint-qdq": "pruna_ir.passes.quantization.lint_qdq:LintQdq",
    "convert-fp16": "pruna_ir.passes.precision.convert_fp16:ConvertFp16",
    "mixed-precision": "pruna_ir.passes.precision.mixed_precision:MixedPrecision",
    "quantize-dynamic": "pruna_ir.passes.precision.quantize_dynamic:QuantizeDynamic",
    "quantize-weights": "pruna_ir.passes.precision.quantize_weights:QuantizeWeights",
    **RECOGNITION_RULES,
    **DECOMPOSITION_RULES,
    **FUSION_RULES,
}

# What `-O2` and `-O3` do after everything else. quantize-dynamic takes what would stand alone between float operators,
# before quantize looks at the rest.
_INTEGERS = (
    "fuse-focus,pool-means,equalize,round-weights,quantize-dynamic<apart=true>,quantize,correct-bias,store-weights"
)
# Pipelines with a name. They expand to their text wherever they stand.
PIPELINES: dict[str, str] = {
    "simplify": (
        "fold-constants,remove-noop,fold-shapes,inline-branches,unroll-loops,join-reshapes,fuse-reduce-reshape,"
        "fold-constants,fold-shapes,deduplicate,dead-code,fold-large-constants"
    ),
    "O0": "",
    # fuse-focus sums in another order, and detectors that end in exponentials make more of that than -O1 allows.
    "O1": "simplify,recognize,fold-constants,fuse<skip=[fuse-focus]>,fold-constants,deduplicate,dead-code",
    "O2": f"O1,{_INTEGERS}",
    # To a budget, which --budget gives.
    "O3": f"O1,prune-channels,{_INTEGERS}",
}

TARGETS: dict[str, str] = {
    "ort-cpu": "pruna_ir.targets.ort_cpu:detect",
    "ort-x86-vnni": "pruna_ir.targets.ort_cpu:X86_VNNI",
    "ort-x86": "pruna_ir.targets.ort_cpu:X86",
    "ort-arm": "pruna_ir.targets.ort_cpu:ARM",
    "tflite": "pruna_ir.targets.tflite:TFLITE",
    "tflite-int16": "pruna_ir.targets.tflite:TFLITE_INT16",
    "coreml": "pruna_ir.targets.coreml:COREML",
    "tensorrt": "pruna_ir.targets.tensorrt:TENSORRT",
    "portable": "pruna_ir.targets.portable:PORTABLE",
}

BACKENDS: dict[str, str] = {
    "coreml": "pruna_ir.backends.coreml.backend:CoremlBackend",
    "onnx": "pruna_ir.backends.onnxruntime.backend:OnnxBackend",
    "tflite": "pruna_ir.backends.tflite.backend:TfliteBackend",
    "tensorrt": "pruna_ir.backends.tensorrt.backend:TensorrtBackend",
}


@cache
def _outside(group: str) -> Mapping[str, str]:
    """What installed packages offer in an entry point group."""
    return {entry.name: entry.value for entry in entry_points(group=f"pruna_ir.{group}")}


def passes() -> dict[str, str]:
    """All passes: ours, and those of other packages under names that are not taken."""
    return {**_outside("passes"), **PASSES}


def targets() -> dict[str, str]:
    """All targets."""
    return {**_outside("targets"), **TARGETS}


def backends() -> dict[str, str]:
    """All back ends."""
    return {**_outside("backends"), **BACKENDS}


def pass_class(name: str) -> type[Pass]:
    """The class of a pass; P002 if there is none."""
    known = passes()
    if name not in known:
        raise error("P002", f"unknown pass `{name}`", help=did_you_mean(name, [*known, *PIPELINES], "pass"))
    return resolve(known[name])  # type: ignore[no-any-return]


def target(name: str) -> Any:
    """A target by name; T001 if there is none. A function in the table is called: it looks at the host."""
    known = targets()
    if name not in known:
        raise error("T001", f"unknown target `{name}`", help=did_you_mean(name, known, "target"))
    found = resolve(known[name])
    return found() if callable(found) else found


def backend(name: str) -> Any:
    """The class of a back end; E001 if there is none."""
    known = backends()
    if name not in known:
        raise error("E001", f"unknown back end `{name}`", help=did_you_mean(name, known, "back end"))
    return resolve(known[name])


def resolve(reference: str) -> Any:
    """Import `module:attribute`; X001 if that fails, as it does for a broken package of somebody else."""
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as failure:  # whatever the code of somebody else raises, a syntax error among it
        raise error("X001", f"`{reference}` cannot be loaded: {failure}") from failure
