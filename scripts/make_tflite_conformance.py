"""Write ONNX's backend suite as .tflite, run it on LiteRT, and write `docs/tflite_conformance.md`.

`python scripts/make_tflite_conformance.py` takes some minutes. Every case runs in a process that it may end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import ai_edge_litert
import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from emitted_page import Page, main  # noqa: E402
from tflite_conformance import judge  # noqa: E402

SUITE = "https://github.com/onnx/onnx/tree/main/onnx/backend/test"
INTRODUCTION = f"""\
The [backend tests]({SUITE}) of ONNX {onnx.__version__}, each
written as a .tflite file and run on LiteRT {ai_edge_litert.__version__}: on XNNPACK's kernels, and on LiteRT's own.
*Run* counts the cases that ONNX Runtime {onnxruntime.__version__} itself passes. *Passed* means equal to the outputs
that the case gives, within its own tolerance, on both kinds of kernels. *Refused* means that the back end says why it
cannot write the model; below is what it says. The forms:
"""

if __name__ == "__main__":
    page = Page("Conformance of the TFLite back end", "scripts/make_tflite_conformance.py", INTRODUCTION)
    main(page, judge, ROOT / "docs" / "tflite_conformance.md")
