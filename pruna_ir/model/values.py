"""Values of constants: stored as ONNX has them until they are read, and stored that way again for export.

graphsurgeon 0.6.1 reads sparse tensors as float64, warns about types that NumPy lacks, and writes neither text nor
types of less than a byte. Its own classes are used for nothing but plain dense numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from pruna_ir.model.scoping import graphs_of

# Kinds of NumPy types whose bytes in memory are those that ONNX stores: booleans, numbers.
_PLAIN_KINDS = "biufc"


class StoredValues(LazyValues):  # type: ignore[misc]
    """A TensorProto that is decoded when its values are first read."""

    def __init__(self, tensor: onnx.TensorProto) -> None:
        self.tensor = tensor
        self.shape = list(tensor.dims)
        self.dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def load(self) -> np.ndarray:
        """The values; types that NumPy lacks are those of `ml_dtypes`, text is an array of objects."""
        return np.array(onnx.numpy_helper.to_array(self.tensor))


class StoredSparseValues(SparseValues):  # type: ignore[misc]
    """A SparseTensorProto that becomes dense when its values are first read."""

    def __init__(self, tensor: onnx.SparseTensorProto) -> None:
        self.tensor = tensor
        self.shape = list(tensor.dims)
        self.dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.values.data_type)
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def load(self) -> np.ndarray:
        """The values, zeros included."""
        return densify(self.tensor)


def densify(tensor: onnx.SparseTensorProto) -> np.ndarray:
    """The dense form of a sparse tensor in coordinate format (its indices are linear, or a row for each value)."""
    values, indices = onnx.numpy_helper.to_array(tensor.values), onnx.numpy_helper.to_array(tensor.indices)
    dense = np.zeros(tuple(tensor.dims), values.dtype)
    places = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), dense.shape)
    dense.reshape(-1)[places] = values
    return dense


def constants(graph: gs.Graph) -> Iterator[gs.Constant]:
    """Every constant that a graph or its sub-graphs hold, in attributes too; some more than once."""
    for scope in graphs_of(graph):
        for node in scope.nodes:
            for held in node.inputs:
                if isinstance(held, gs.Constant):
                    yield held
            for held in node.attrs.values():
                if isinstance(held, gs.Constant):
                    yield held
        for held in scope.outputs:
            if isinstance(held, gs.Constant):
                yield held


def attach(constant: gs.Constant) -> None:
    """Give a freshly imported constant our class of stored values."""
    values = constant._values
    if isinstance(values, SparseValues):
        constant.values = StoredSparseValues(values.tensor)
    elif type(values) is LazyValues:
        constant.values = StoredValues(values.tensor)


def make_exportable(constant: gs.Constant) -> None:
    """Put the values of a constant into a form that graphsurgeon writes without a loss."""
    values = constant._values
    if isinstance(values, StoredSparseValues):
        values.tensor.values.name = constant.name
    elif isinstance(values, np.ndarray) and values.dtype.kind not in _PLAIN_KINDS:
        constant.values = StoredValues(onnx.numpy_helper.from_array(values, constant.name))
