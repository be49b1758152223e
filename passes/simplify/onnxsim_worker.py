"""Runs onnxsim's simplifier: `python -P onnxsim_worker.py PACKAGE OUT [--infer-shapes] SKIPPED... < IN`.

A script, not a module: it imports nothing of pruna_ir. PACKAGE is the folder where onnxsim is installed. Only the
native core of onnxsim is imported; the package's own `__init__` imports some hundred modules, and torch where it is
installed. IN and OUT are serialized ModelProtos below 2 GB.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

INFER_SHAPES = "--infer-shapes"
# Constant folding never creates one tensor above this size by Tile, Expand or ConstantOfShape.
_LARGEST_FOLD = 1024
# Address space that the worker may take: enough for any honest run, not enough to bring a machine down.
_MEMORY_BASE, _MEMORY_FACTOR = 16 << 30, 32
_BLOCKED = ("torch", "tensorflow", "jax")


def _limit_memory(model_bytes: int) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    wanted = _MEMORY_BASE + _MEMORY_FACTOR * model_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _native_core(folder: str) -> Any:
    """onnxsim's extension module, without the package around it."""
    for name in _BLOCKED:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it raises ImportError
    package = types.ModuleType("onnxsim")
    package.__path__ = [folder]
    sys.modules["onnxsim"] = package
    import onnxsim.onnxsim_cpp2py_export as core

    return core


def _executor(core: Any) -> Any:
    """What the core calls to compute constants; what that needs is imported when there is one."""

    class Executor(core.ModelExecutor):  # type: ignore[misc]
        def Run(self, model: bytes, inputs: list[bytes]) -> list[bytes]:  # noqa: N802 (the core's name)
            import numpy as np
            import onnx
            import onnxruntime as ort

            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 4
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            arrays = [onnx.numpy_helper.to_array(onnx.TensorProto.FromString(text)) for text in inputs]
            names = [value.name for value in session.get_inputs()]
            outputs = session.run(None, dict(zip(names, arrays, strict=True)))
            return [onnx.numpy_helper.from_array(np.asarray(array)).SerializeToString() for array in outputs]

    return Executor()


def main(folder: str, target: str, *arguments: str) -> None:
    """Simplify the model on the standard input into the file `target`, without the optimizers named."""
    core = _native_core(folder)
    executor = _executor(core)
    model = sys.stdin.buffer.read()
    _limit_memory(len(model))
    simplified = core.simplify(
        executor,
        model,
        [name for name in arguments if name != INFER_SHAPES],
        constant_folding=True,
        shape_inference=INFER_SHAPES in arguments,
        tensor_size_threshold=_LARGEST_FOLD,
        target_opset_version=None,
        rewriter=None,
        initializers_as_constants=True,
        include_inline_functions=False,
        mutable_initializer=False,
        overwrite_input_shapes=None,
        unused_output=None,
        extra_optimizers=None,
    )
    Path(target).write_bytes(simplified)


if __name__ == "__main__":
    main(*sys.argv[1:])
