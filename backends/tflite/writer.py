"""From a program to the bytes of a .tflite file, by the object API of the schema that LiteRT ships."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from pruna_ir.backends.tflite.packing import Data, Shared, builder
from pruna_ir.backends.tflite.program import Binding, Operator, Program, Quantization, Tensor
from pruna_ir.backends.tflite.session import require_litert
from pruna_ir.backends.tflite.versions import version_of
from pruna_ir.diagnostics import error

_SCHEMA_VERSION = 3
# Offsets in a flatbuffer have 32 bits, one of which is a sign.
LARGEST_FILE = 2**31 - 1
# Room for what is not data of constants.
_OVERHEAD = 2**20
_ALIGNMENT = 16
# Codes from this on do not fit the first form of the field, and only stand in the second one.
_PLACEHOLDER = 127

# The table of options of operators that it is not named after.
_OPTIONS = {
    "MAX_POOL_2D": "Pool2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "L2_POOL_2D": "Pool2DOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "CONV_3D_TRANSPOSE": "Conv3DOptions",
    **dict.fromkeys(
        ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"), "ReducerOptions"
    ),
}
# Fields of options that hold enumerations, which a program names by text.
_ENUMERATIONS = {
    "fusedActivationFunction": "ActivationFunctionType",
    "padding": "Padding",
    "mode": "MirrorPadMode",
    "quantizedBiasType": "TensorType",
    "inDataType": "TensorType",
    "outDataType": "TensorType",
    "outputType": "TensorType",
    "outType": "TensorType",
}


def write(program: Program) -> bytes:
    """The file as bytes of its own; see `pack`."""
    return bytes(pack(program))


def pack(program: Program) -> memoryview:
    """The file; raises E006 if it would be larger than its format can hold, X001 without ai-edge-litert."""
    tensors = program.tensors()
    size = sum(tensor.data.nbytes + _ALIGNMENT for tensor in tensors if tensor.data is not None) + _OVERHEAD
    if size > LARGEST_FILE:
        help_text = "store weights in fewer bits (`dtype=float16`, or quantize), or cut the model in parts"
        raise error("E006", f"the file would have {size / 1e9:.2f} GB, and TFLite ends at 2.15", help=help_text)
    packed = builder(size)
    packed.Finish(_Packer(tensors).model(program).Pack(packed), file_identifier=b"TFL3")
    return memoryview(packed.Bytes)[packed.Head() :]


@cache
def _schema() -> Any:
    require_litert()
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


class _Packer:
    """Objects of the schema for a program's."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.schema = _schema()
        self.buffers = [self.schema.BufferT()]  # an empty one stands for no data
        self.codes: dict[tuple[str, int], int] = {}
        self.tensors = tensors
        self.positions = {id(tensor): index for index, tensor in enumerate(tensors)}

    def model(self, program: Program) -> Any:
        graph = self.schema.SubGraphT()
        graph.name = "main"
        graph.tensors = [self._tensor(tensor) for tensor in self.tensors]
        graph.inputs = [self.positions[id(item.tensor)] for item in program.inputs]
        graph.outputs = [self.positions[id(item.tensor)] for item in program.outputs]
        graph.operators = [self._operator(operator) for operator in program.operators]
        model = self.schema.ModelT()
        model.version, model.description, model.subgraphs = _SCHEMA_VERSION, program.description, [graph]
        model.signatureDefs = [self._signature(program)]
        model.metadata = [self._metadata(name, entry) for name, entry in program.metadata.items()]
        model.operatorCodes = [self._code(name, version) for name, version in self.codes]
        model.buffers = self.buffers
        return model

    def _tensor(self, tensor: Tensor) -> Any:
        made = self.schema.TensorT()
        made.name, made.shape = tensor.name, np.array(tensor.shape, np.int32)
        made.type = getattr(self.schema.TensorType, tensor.dtype.name.upper())
        made.buffer = 0 if tensor.data is None else self._buffer(tensor.data)
        made.hasRank = True
        if tensor.quantization is not None:
            made.quantization = self._quantization(tensor.quantization)
        return made

    def _quantization(self, quantization: Quantization) -> Any:
        made = self.schema.QuantizationParametersT()
        made.scale, made.quantizedDimension = quantization.scale, quantization.axis
        made.zeroPoint = np.resize(quantization.zero_point, quantization.scale.shape).astype(np.int64)
        return Shared(made, (made.scale.tobytes(), made.zeroPoint.tobytes(), quantization.axis))

    def _buffer(self, data: np.ndarray) -> int:
        self.buffers.append(Data(self.schema, data))
        return len(self.buffers) - 1

    def _operator(self, operator: Operator) -> Any:
        made = self.schema.OperatorT()
        key = operator.code, version_of(operator)
        made.opcodeIndex = self.codes.setdefault(key, len(self.codes))
        inputs = [-1 if tensor is None else self.positions[id(tensor)] for tensor in operator.inputs]
        made.inputs = np.array(inputs, np.int32)
        made.outputs = np.array([self.positions[id(tensor)] for tensor in operator.outputs], np.int32)
        table = options_table(operator.code)
        if table is not None:
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, table)
            made.builtinOptions = self._options(table, operator)
        return made

    def _options(self, table: str, operator: Operator) -> Any:
        made = getattr(self.schema, f"{table}T")()
        for name, value in operator.options.items():
            assert hasattr(made, name), f"{table} has no field {name}"
            if isinstance(value, str):
                value = getattr(getattr(self.schema, _ENUMERATIONS[name]), value)
            setattr(made, name, np.array(value, np.int32) if isinstance(value, list) else value)
        return Shared(made, (table, repr(sorted(operator.options.items()))))

    def _code(self, name: str, version: int) -> Any:
        made = self.schema.OperatorCodeT()
        made.builtinCode, made.version = getattr(self.schema.BuiltinOperator, name), version
        made.deprecatedBuiltinCode = min(made.builtinCode, _PLACEHOLDER)
        return made

    def _signature(self, program: Program) -> Any:
        made = self.schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex = "serving_default", 0
        made.inputs = [self._entry(item) for item in program.inputs]
        made.outputs = [self._entry(item) for item in program.outputs]
        return made

    def _entry(self, item: Binding) -> Any:
        made = self.schema.TensorMapT()
        made.name, made.tensorIndex = item.name, self.positions[id(item.tensor)]
        return made

    def _metadata(self, name: str, entry: bytes) -> Any:
        made = self.schema.MetadataT()
        made.name, made.buffer = name, self._buffer(np.frombuffer(entry, np.uint8))
        return made


@cache
def options_table(code: str) -> str | None:
    """The name of an operator's table of options in the schema; None if it has none."""
    known = {name.lower(): name for name in vars(_schema().BuiltinOptions) if name.endswith("Options")}
    return _OPTIONS.get(code) or known.get(f"{code.replace('_', '').lower()}options")
