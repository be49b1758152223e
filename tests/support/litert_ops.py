"""One-op int8 models for LiteRT, and its interpreter."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pruna_ir.backends.tflite.program import Binding, Operator, Program, Tensor
from pruna_ir.backends.tflite.tensors import quantization_of
from pruna_ir.backends.tflite.writer import write
from pruna_ir.calibration.scheme import QuantParams, Range, Scheme

INT8 = Scheme(np.dtype(np.int8))
INT16 = Scheme(np.dtype(np.int16), symmetric=True)
# The bits of biases beside those of activations.
_BIASES = {INT8.dtype: np.int32, INT16.dtype: np.int64}
WEIGHTS = Scheme(np.dtype(np.int8), symmetric=True, axis=0, narrow=True)
Shape = tuple[int, ...]


@dataclass(frozen=True)
class LiteOp:
    """An operator of LiteRT: what it reads, its options, and the same in float.

    `inputs` are shapes of activations (inputs of the model) or arrays (int32 constants, int8 weights as float arrays,
    which get a scale for each index of their first axis; `bias` follows them). `compute` maps arrays to the first of
    `results` outputs, which all have one shape.
    """

    builtin: str
    inputs: tuple[Shape | np.ndarray, ...]
    compute: Callable[..., np.ndarray]
    attributes: dict[str, Any] = field(default_factory=dict)
    bias: np.ndarray | None = None
    results: int = 1


class LiteFile:
    """A program that is put together by hand."""

    def __init__(self) -> None:
        self.operators: list[Operator] = []
        self._names = (f"t{number}" for number in itertools.count())

    def tensor(
        self, shape: Sequence[int], dtype: Any, params: QuantParams | None = None, data: np.ndarray | None = None
    ) -> Tensor:
        quantization = None if params is None else quantization_of(params, params.axis or 0)
        return Tensor(next(self._names), tuple(shape), np.dtype(dtype), quantization, data)

    def operator(self, builtin: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], **options: Any) -> None:
        self.operators.append(Operator(builtin, list(inputs), list(outputs), options))

    def finish(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], **metadata: bytes) -> bytes:
        first, last = ([Binding(tensor.name, tensor) for tensor in side] for side in (inputs, outputs))
        return write(Program(first, last, self.operators, metadata=metadata))


def build(op: LiteOp, read: Sequence[QuantParams], written: QuantParams, shape: Shape) -> bytes:
    """The model float -> QUANTIZE -> op -> DEQUANTIZE -> float; `read` are the parameters of the activations."""
    file, activations = LiteFile(), written.zero_point.dtype
    inputs, operands, left = [], [], list(read)
    for item in op.inputs:
        if isinstance(item, tuple):
            params = left.pop(0)
            inputs.append(file.tensor(item, np.float32))
            operands.append(file.tensor(item, activations, params))
            file.operator("QUANTIZE", [inputs[-1]], [operands[-1]])
        elif item.dtype == np.float32:
            params = WEIGHTS.of_weights(item)
            operands.append(file.tensor(item.shape, np.int8, params, WEIGHTS.quantize(item, params)))
            if op.bias is not None:
                scale = (read[0].scale * params.scale).astype(np.float32)
                units = QuantParams(scale, np.zeros(scale.shape, np.int64), 0)
                stored = np.rint(op.bias / scale).astype(_BIASES[activations])
                operands.append(file.tensor(op.bias.shape, stored.dtype, units, stored))
        else:
            operands.append(file.tensor(item.shape, item.dtype, None, item))
    if op.builtin == "TRANSPOSE_CONV":  # the shape of the output, the weight, the data, the bias
        operands = [operands[3], operands[1], operands[0], operands[2]]
    results = [file.tensor(shape, activations, written) for _ in range(op.results)]
    output = file.tensor(shape, np.float32)
    file.operator(op.builtin, operands, results, **op.attributes)
    file.operator("DEQUANTIZE", results[:1], [output])
    return file.finish(inputs, [output])


def run(model: bytes, feeds: Sequence[np.ndarray], *, delegate: bool = False) -> np.ndarray:
    """The output of a model on LiteRT's own kernels, or (`delegate`) on XNNPACK's where that has some.

    Raises RuntimeError or ValueError if LiteRT refuses the model.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolver, num_threads=1)
    interpreter.allocate_tensors()
    for detail, feed in zip(interpreter.get_input_details(), feeds, strict=True):
        interpreter.set_tensor(detail["index"], feed)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def rounded(values: np.ndarray, params: QuantParams) -> np.ndarray:
    """What is left of values in integers."""
    scheme = Scheme(params.zero_point.dtype)
    return scheme.dequantize(scheme.quantize(values, params), params)


def spanning(values: np.ndarray, scheme: Scheme = INT8) -> QuantParams:
    """Parameters for all the values."""
    return scheme.quantization(Range(float(values.min()), float(values.max())))
