"""What the IR costs on a large graph, next to graphsurgeon's own import and export: `bench_model.py [NODES]`.

Each figure is the median of three rounds, in which everything is timed in turn.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx.helper import make_node
from onnx_graphsurgeon.logger import G_LOGGER

from pruna_ir.instruments import text
from pruna_ir.instruments.verify import verify
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager

ROUNDS = 3
WIDTH = 4


def large_model(count: int) -> onnx.ModelProto:
    """Blocks of Add, Relu, Sigmoid and Mul in a chain, each Add with a weight of its own."""
    generator = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for block in range(count // 4):
        add, relu, sigmoid, mul = (f"{kind}{block}" for kind in ("add", "relu", "sigmoid", "mul"))
        weights.append(onnx.numpy_helper.from_array(generator.standard_normal(WIDTH).astype(np.float32), f"w{block}"))
        nodes += [
            make_node("Add", [last, f"w{block}"], [add], add),
            make_node("Relu", [add], [relu], relu),
            make_node("Sigmoid", [relu], [sigmoid], sigmoid),
            make_node("Mul", [sigmoid, relu], [mul], mul),
        ]
        last = mul
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", WIDTH]) for name in ("x", last)]
    graph = onnx.helper.make_graph(nodes, "large", values[:1], values[1:], weights)
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(proto)


def seconds(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    proto = large_model(count)
    model = Model.load(proto)
    graph = gs.import_onnx(proto)
    works: dict[str, Callable[[], object]] = {
        "graphsurgeon import": lambda: gs.import_onnx(proto),
        "graphsurgeon export": lambda: gs.export_onnx(graph),
        "graphsurgeon copy": lambda: graph.copy(),
        "Model.load": lambda: Model.load(proto),
        "Model.clone": model.clone,
        "Model.to_proto": model.to_proto,
        "Model.check": model.check,
        "Model.fingerprint": model.fingerprint,
        "verify": lambda: verify(model),
        "text listing": lambda: text.lines(model),
        "fold, dedupe, dead, fuse": lambda: PassManager.parse("fold-constants,deduplicate,dead-code,fuse").run(
            model.clone()
        ),
    }
    with G_LOGGER.suppress():
        rounds = [{name: seconds(work) for name, work in works.items()} for _ in range(ROUNDS)]
    medians = {name: statistics.median(taken[name] for taken in rounds) for name in works}
    base = medians["graphsurgeon import"] + medians["graphsurgeon export"]
    print(f"{count:,} nodes; the ratio is to graphsurgeon's import and export together")
    for name, median in medians.items():
        print(f"{name:26} {median:7.3f} s {median / base:6.2f}x")


if __name__ == "__main__":
    main()
