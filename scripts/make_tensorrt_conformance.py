"""Write ONNX's backend suite for TensorRT, build the engines, and write `docs/tensorrt_conformance.md`.

`python scripts/make_tensorrt_conformance.py` takes ten minutes on an idle core. It needs tensorrt-rtx, and no GPU.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import onnxruntime
import tensorrt_rtx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from emitted_page import Page, main  # noqa: E402
from tensorrt_conformance import judge  # noqa: E402

SUITE = "https://github.com/onnx/onnx/tree/main/onnx/backend/test"
INTRODUCTION = f"""\
The [backend tests]({SUITE}) of ONNX {onnx.__version__}, each
legalized for TensorRT, checked by its rules, parsed and built by TensorRT for RTX {tensorrt_rtx.__version__}
(for compute capability 8.9, on a machine without a GPU), and run in ONNX Runtime {onnxruntime.__version__}.
*Run* counts the cases that ONNX Runtime itself passes. *Passed* means that an engine was built, and that the network
in ONNX Runtime gives the outputs of the case, within its own tolerance; engines are not run. Operators that TensorRT
has as plugins and TensorRT for RTX has not (DeformConv, NonMaxSuppression, NonZero, RoiAlign) are not built.
*Refused* means that the back end says why TensorRT does not take the model; below is what it says. *Crashed*: the
rules let it pass, and the builder did not. The forms:
"""

if __name__ == "__main__":
    page = Page("Conformance of the TensorRT back end", "scripts/make_tensorrt_conformance.py", INTRODUCTION)
    main(page, judge, ROOT / "docs" / "tensorrt_conformance.md")
