"""Attention next to its parts and to ONNX Runtime's own operator: `bench_attention.py [SECONDS]`.

All run in ONNX Runtime with all its optimizations, in turn; a ratio is the time of the parts over the operator's.
`Attention` is what `recognize,fuse` makes of the parts, `four axes` is Attention between the transposes of the parts,
`MultiHeadAttention` is that of the domain com.microsoft. What is printed is why recognition moves the heads into the
operator, and why it makes none of the last two.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

from pruna_ir.model import Model
from pruna_ir.model.random_feeds import random_feeds
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.runtime.latency import compare
from pruna_ir.runtime.session import Session

# Batch, tokens, heads, size: a sentence encoder's and an image transformer's.
SIZES = ((1, 16, 12, 32), (1, 128, 12, 32), (8, 128, 12, 32), (1, 197, 12, 64))
THREADS = (1, 2)
HEADER = '<ir_version: 10, opset_import: ["": 23, "com.microsoft": 1]> g '

SPLIT = (
    "q4 = Reshape(q, split) qh = Transpose<perm=[0,2,1,3]>(q4) k4 = Reshape(k, split) "
    "{key} v4 = Reshape(v, split) vh = Transpose<perm=[0,2,1,3]>(v4) "
)
COLUMNS = SPLIT.format(key="kt = Transpose<perm=[0,2,3,1]>(k4)")
ROWS = SPLIT.format(key="kh = Transpose<perm=[0,2,1,3]>(k4)")
PARTS = "r = MatMul(qh, kt) {mask} p = Softmax(a) c = MatMul(p, vh) "
JOIN = "j = Transpose<perm=[0,2,1,3]>(c) y = Reshape(j, joined)"
# One tensor [batch, tokens, 3 * heads * size].
IMAGE = (
    "q5 = Reshape(x, five) o = Transpose<perm=[2,0,3,1,4]>(q5) qh = Gather<axis=0>(o, i0) k4 = Gather<axis=0>(o, i1) "
    "vh = Gather<axis=0>(o, i2) kt = Transpose<perm=[0,1,3,2]>(k4) "
)
# Tokens before the batch, heads within it.
TOKENS_FIRST = (
    "q3 = Reshape(q, three) qx = Transpose<perm=[1,0,2]>(q3) qh = Reshape(qx, four) "
    "k3 = Reshape(k, three) kx = Transpose<perm=[1,0,2]>(k3) k4 = Reshape(kx, four) kt = Transpose<perm=[0,1,3,2]>(k4) "
    "v3 = Reshape(v, three) vx = Transpose<perm=[1,0,2]>(v3) vh = Reshape(vx, four) "
)
PLAIN, ADDED = PARTS.format(mask="a = Mul(r, scale)"), PARTS.format(mask="s = Mul(r, scale) a = Add(s, m)")


def forms(heads: int) -> dict[str, tuple[str, str, str]]:
    """By name: the graph of the parts, that of Attention with four axes, and that of the vendor's operator if any."""
    four = ROWS + "c = Attention<scale={scale}>(qh, kh, vh{mask}) " + JOIN
    vendor = f"y = com.microsoft.MultiHeadAttention<num_heads={heads}>(q, k, v"
    return {
        "plain": (COLUMNS + PLAIN + JOIN, four.replace("{mask}", ""), vendor + ")"),
        "mask": (COLUMNS + ADDED + JOIN, four.replace("{mask}", ", m"), vendor + ", , , m)"),
        "one tensor": (IMAGE + PLAIN + JOIN, "", ""),
        "tokens first": (TOKENS_FIRST + PLAIN + "j = Transpose<perm=[2,0,1,3]>(c) y = Reshape(j, joined)", "", ""),
    }


def model(form: str, body: str, sizes: tuple[int, int, int, int]) -> Model:
    """A form at its sizes."""
    batch, tokens, heads, size = sizes
    width = heads * size
    outer = (tokens, batch) if form == "tokens first" else (batch, tokens)
    inputs = {name: [*outer, width] for name in "qkv"}
    inputs |= {"x": [batch, tokens, 3 * width], "m": [batch, 1, tokens, tokens]}
    words = body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    constants: dict[str, np.ndarray] = {
        "scale": np.array(size**-0.5, np.float32),
        "split": np.array([0, 0, heads, size]),
        "joined": np.array([0, 0, width]),
        "five": np.array([0, 0, 3, heads, size]),
        "three": np.array([tokens, batch * heads, size]),
        "four": np.array([batch, heads, tokens, size]),
        **{f"i{index}": np.array(index) for index in range(3)},
    }
    given = ", ".join(f"float[{','.join(map(str, shape))}] {name}" for name, shape in inputs.items() if name in words)
    outputs = f"float[{','.join(map(str, [*outer, width]))}] y"
    proto = onnx.parser.parse_model(
        f"{HEADER} ({given}) => ({outputs}) {{ {body.replace('{scale}', str(size**-0.5))} }}"
    )
    used = {name: values for name, values in constants.items() if name in words}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(values, name) for name, values in used.items())
    return Model.load(proto)


def rows(seconds: float) -> Iterator[list[str]]:
    """A row for each form, size and number of threads."""
    for threads in THREADS:
        for sizes in SIZES:
            for form, (parts, four, vendor) in forms(sizes[2]).items():
                before = model(form, parts, sizes)
                after = before.clone()
                PassManager.parse("recognize-attention,fuse").run(after)
                found = [after, *(model(form, body, sizes) if body else None for body in (four, vendor))]
                session = Session(before, threads=threads)
                feeds = random_feeds(session.inputs, 0)
                cells = []
                for other in found:
                    ratio = other and compare(session, Session(other, threads=threads), feeds, seconds=seconds)
                    cells.append(f"{ratio.speedup:.2f} ({ratio.low:.2f}-{ratio.high:.2f})" if ratio else "")
                yield [form, "x".join(map(str, sizes)), str(threads), *cells]


def main() -> None:
    """Print the table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5
    table = Table("form", "batch, tokens, heads, size", "threads", "Attention", "four axes", "MultiHeadAttention")
    for row in rows(seconds):
        table.add_row(*row)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
