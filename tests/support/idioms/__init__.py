"""What each rule is about, in random form: add a line here with a rule."""

from __future__ import annotations

from idioms import activations, attention, layout, linear, norms
from idioms.network import NEWEST, Idiom, Network, networks

FUSION: dict[str, Idiom] = {
    "remove-noop": Idiom(layout.nothing),
    "join-clips": Idiom(layout.two_clips, dtypes=("float32", "float32", "float16", "float64")),
    "join-transposes": Idiom(layout.two_transposes),
    "join-reshapes": Idiom(layout.two_reshapes),
    "fuse-reduce-reshape": Idiom(layout.reduction_and_axes),
    "join-casts": Idiom(layout.two_casts),
    "join-slices": Idiom(layout.two_slices),
    "join-concats": Idiom(layout.nested_concats),
    "bypass-concat": Idiom(layout.slice_of_concat),
    "push-transposes": Idiom(layout.elementwise_between_transposes),
    "push-reshapes": Idiom(layout.nodes_between_reshapes),
    "fuse-roll": Idiom(layout.rolled),
    "split-stack": Idiom(layout.stack),
    "fold-scalar-chains": Idiom(layout.scalar_chain, dtypes=("float32", "float32", "float16", "float64")),
    "fuse-conv-bn": Idiom(linear.conv_norm),
    "fuse-conv-affine": Idiom(linear.conv_affine),
    "fuse-norm-affine": Idiom(norms.norm_affine),
    "fuse-matmul-add": Idiom(linear.matmul_add, dtypes=("float32", "float32", "float64")),
    "flatten-matmul": Idiom(linear.matmul_add_between_reshapes, dtypes=("float32", "float32", "float64")),
    "fuse-space-to-depth": Idiom(linear.blocks, dtypes=("float32", "float32", "float64", "float16")),
    "fuse-focus": Idiom(linear.focus),
    "fuse-pad-conv": Idiom(linear.pad_window),
    "fuse-bn-conv": Idiom(linear.norm_conv),
    "fuse-scale-shift-conv": Idiom(linear.scale_shift_conv),
    "fuse-conv-conv": Idiom(linear.two_convs),
    "fuse-matmul-matmul": Idiom(linear.two_products),
    "merge-shared-input": Idiom(linear.shared_input),
    "fold-scale": Idiom(linear.scale_behind),
    "fuse-convtranspose-bn": Idiom(linear.conv_transpose_norm),
    "fuse-gemm-bn": Idiom(linear.product_norm),
    "merge-parallel-branches": Idiom(linear.branches),
}

# From where on the operator exists that the rule makes, and now and then before.
RECOGNITION: dict[str, Idiom] = {
    "recognize-gelu": Idiom(activations.gelu, opsets=(19, NEWEST)),
    "recognize-hard-sigmoid": Idiom(activations.hard_sigmoid),
    "recognize-hard-swish": Idiom(activations.hard_swish),
    "recognize-layer-norm": Idiom(norms.layer_norm, opsets=(16, NEWEST)),
    "recognize-instance-norm": Idiom(norms.instance_norm),
    "recognize-rms-norm": Idiom(norms.rms_norm, opsets=(22, NEWEST)),
    "recognize-group-norm": Idiom(norms.group_norm, opsets=(20, NEWEST)),
    "recognize-l2-norm": Idiom(norms.l2_norm),
    "recognize-rotary": Idiom(attention.rotary, opsets=(22, NEWEST)),
    "recognize-attention": Idiom(attention.attention, opsets=(22, NEWEST)),
    "recognize-mish": Idiom(activations.mish, opsets=(17, NEWEST)),
    "recognize-softplus": Idiom(activations.softplus),
    "recognize-unlimited-softplus": Idiom(activations.unlimited_softplus),
    "recognize-softsign": Idiom(activations.softsign),
    "recognize-swish": Idiom(activations.swish, opsets=(23, 24)),  # ONNX Runtime 1.32 has no Swish of later ones
}

IDIOMS = {**RECOGNITION, **FUSION}

__all__ = ["IDIOMS", "Idiom", "Network", "networks"]
