"""What a written .tflite file says of itself: the scales of its tensors, and what XNNPACK takes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pruna_ir.backends.agreement import Params, as_bytes
from pruna_ir.backends.tflite.session import LiteSession

# Root of the mean squared error relative to the range of an output beyond which the file is not the model. Rounding in
# another order moves single values of a quantized network by several steps, a wrong layout moves all by more than this.
LIMITS = {"float": 1e-3, "quantized": 0.05}


def file_params(content: bytes) -> Iterator[tuple[str, Params]]:
    """Name, scales and zero points of every tensor of a file that has some, but for biases of zero.

    Those are of no layer of the model: kernels want a bias where it has none.
    """
    from ai_edge_litert.schema_py_generated import Model, TensorType

    model = Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        quantization = tensor.Quantization()
        if quantization is None or not quantization.ScaleLength():
            continue
        if tensor.Type() in (TensorType.INT32, TensorType.INT64):
            buffer = model.Buffers(tensor.Buffer())
            if not buffer.DataIsNone() and not buffer.DataAsNumpy().any():
                continue
        params = as_bytes(quantization.ScaleAsNumpy(), quantization.ZeroPointAsNumpy())
        yield tensor.Name().decode(), params


def coverage(session: LiteSession) -> str:
    """How many operators XNNPACK took, and which it did not."""
    operators = session.operators()
    left = Counter(code for code, taken in operators if not taken)
    text = f"XNNPACK runs {len(operators) - sum(left.values())} of {len(operators)} operators"
    names = ", ".join(f"{count} {code}" if count > 1 else code for code, count in sorted(left.items()))
    return f"{text}; not {names}" if left else text
