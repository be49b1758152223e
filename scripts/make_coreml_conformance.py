"""Write ONNX's backend suite as Core ML packages, evaluate them, and write `docs/coreml_conformance.md`.

`python scripts/make_coreml_conformance.py` takes some minutes. Every case runs in a process that it may end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import onnxruntime

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from coreml_conformance import judge  # noqa: E402
from emitted_page import Page, main  # noqa: E402

from pruna_ir.backends.coreml.toolbox import coremltools  # noqa: E402

SUITE = "https://github.com/onnx/onnx/tree/main/onnx/backend/test"
INTRODUCTION = f"""\
The [backend tests]({SUITE}) of ONNX {onnx.__version__}, each
written as a .mlpackage for iOS 17 with 32-bit floats, read back by coremltools {coremltools().__version__} and run in
the [reference evaluator](coreml.md#the-reference-evaluator), not on Core ML itself.
*Run* counts the cases that ONNX Runtime {onnxruntime.__version__} itself passes. *Passed* means equal to the outputs
that the case gives, within its own tolerance; in 16-bit floats within two units of the last place, since a package
rounds what each of its operators writes. *Refused* means that the back end says why it cannot write the model; below
is what it says. The forms:
"""

if __name__ == "__main__":
    page = Page("Conformance of the Core ML back end", "scripts/make_coreml_conformance.py", INTRODUCTION)
    main(page, judge, ROOT / "docs" / "coreml_conformance.md")
