"""One-op int8 models for LiteRT, built with the object API of its own schema, and run on its interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
    options: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    bias: np.ndarray | None = None
    version: int = 1
    results: int = 1


class _Writer:
    """Tensors, buffers and operators of one model."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.graph.tensors, self.graph.operators = [], []

    def tensor(
        self, shape: Sequence[int], dtype: Any, params: QuantParams | None = None, data: np.ndarray | None = None
    ) -> int:
        kinds = ("float32", "int8", "int16", "int32", "int64", "bool")
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape = f"t{len(self.graph.tensors)}", list(shape)
        assert np.dtype(dtype).name in kinds
        tensor.type, tensor.buffer = getattr(self.schema.TensorType, np.dtype(dtype).name.upper()), 0
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if params is not None:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale = np.atleast_1d(params.scale)
            tensor.quantization.zeroPoint = np.atleast_1d(params.zero_point).astype(np.int64)
            tensor.quantization.quantizedDimension = params.axis or 0
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(
        self, builtin: str, inputs: list[int], outputs: list[int], options: str = "", version: int = 1, **values: Any
    ) -> None:
        code, node = self.schema.OperatorCodeT(), self.schema.OperatorT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, builtin)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
        self.model.operatorCodes.append(code)
        node.opcodeIndex, node.inputs, node.outputs = len(self.model.operatorCodes) - 1, inputs, outputs
        if options:
            node.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            node.builtinOptions = getattr(self.schema, f"{options}T")()
            for name, value in values.items():
                setattr(node.builtinOptions, name, value)
        self.graph.operators.append(node)

    def finish(self) -> bytes:
        import flatbuffers

        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def build(op: LiteOp, read: Sequence[QuantParams], written: QuantParams, shape: Shape) -> bytes:
    """The model float -> QUANTIZE -> op -> DEQUANTIZE -> float; `read` are the parameters of the activations."""
    writer, activations = _Writer(), written.zero_point.dtype
    inputs, operands, left = [], [], list(read)
    for item in op.inputs:
        if isinstance(item, tuple):
            params = left.pop(0)
            inputs.append(writer.tensor(item, np.float32))
            operands.append(writer.tensor(item, activations, params))
            writer.operator("QUANTIZE", [inputs[-1]], [operands[-1]], "QuantizeOptions")
        elif item.dtype == np.float32:
            params = WEIGHTS.of_weights(item)
            operands.append(writer.tensor(item.shape, np.int8, params, WEIGHTS.quantize(item, params)))
            if op.bias is not None:
                scale = (read[0].scale * params.scale).astype(np.float32)
                units = QuantParams(scale, np.zeros(scale.shape, np.int64), 0)
                stored = np.rint(op.bias / scale).astype(_BIASES[activations])
                operands.append(writer.tensor(op.bias.shape, stored.dtype, units, stored))
        else:
            operands.append(writer.tensor(item.shape, item.dtype, None, item))
    if op.builtin == "TRANSPOSE_CONV":  # the shape of the output, the weight, the data, the bias
        operands = [operands[3], operands[1], operands[0], operands[2]]
    results, output = (
        [writer.tensor(shape, activations, written) for _ in range(op.results)],
        writer.tensor(shape, np.float32),
    )
    writer.operator(op.builtin, operands, results, op.options, op.version, **op.attributes)
    writer.operator("DEQUANTIZE", results[:1], [output], "DequantizeOptions")
    writer.graph.inputs, writer.graph.outputs = inputs, [output]
    return writer.finish()


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
