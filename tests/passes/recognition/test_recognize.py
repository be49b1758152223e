"""All recognition rules together."""

from __future__ import annotations

import numpy as np
import pytest
from decomposed import numbered
from onnx_text import positive, weight

from pruna_ir import registry
from pruna_ir.diagnostics import PrunaError
from pruna_ir.model import Model
from pruna_ir.passes.recognition.recognize import Recognize
from pruna_ir.pipeline.build import build, to_text
from pruna_ir.pipeline.context import Steps
from pruna_ir.testing import check_pass, ops, run_pass

BLOCK = """g (float[n,8] x) => (float[n,8] y) {
    m = ReduceMean(x, last) c = Sub(x, m) p = Pow(c, #2) v = ReduceMean(p, last) w = Add(v, #1e-5) s = Sqrt(w)
    l = Div(c, s) t = Mul(l, gamma) u = Add(t, beta)
    d = Div(u, #1.4142135) e = Erf(d) f = Add(e, #1) h = Mul(u, f) i = Mul(h, #0.5)
    j = Add(i, #3) k = Clip(j, #0, #6) o = Mul(i, k) y = Div(o, #6)
}"""


def block() -> Model:
    return numbered(BLOCK, opset=20, last=np.array([-1]), gamma=positive(8), beta=weight(8))


def test_all_rules_at_once() -> None:
    after, result = check_pass(Recognize(), block())
    assert ops(after) == ["LayerNormalization", "Mul", "Add", "Gelu", "HardSwish"]
    assert result.counts == {"recognize-layer-norm": 1, "recognize-gelu": 1, "recognize-hard-swish": 1}


def test_only_and_skip() -> None:
    _, result = check_pass(Recognize(only=("recognize-gelu", "recognize-mish")), block())
    assert result.counts == {"recognize-gelu": 1}
    _, result = check_pass(Recognize(skip=("recognize-gelu",)), block())
    assert "recognize-gelu" not in result.counts


def test_text() -> None:
    text = "recognize<only=[recognize-gelu];skip=[recognize-mish]>"
    assert to_text(build(text)) == text


def test_rules_of_other_groups() -> None:
    with pytest.raises(PrunaError, match="`fuse-conv-bn` is no rule of `recognize`"):
        Recognize(only=("fuse-conv-bn",))


@pytest.mark.parametrize("limit", range(4))
def test_every_application_is_a_step(limit: int) -> None:
    model, steps = block(), Steps(limit)
    result = run_pass(Recognize(), model, steps=steps)
    assert sum(result.counts.values()) == limit == len(steps.taken)


def test_runs_before_quantization() -> None:
    with pytest.raises(PrunaError, match="`recognize` must run before `quantize`"):
        build("quantize,recognize")


def test_default_pipeline_recognizes_before_it_fuses() -> None:
    names = [item.name for item in build("O1")]
    assert names.index("recognize") < names.index("fuse")


@pytest.mark.parametrize("name", registry.RECOGNITION_RULES)
def test_documentation_shows_the_graph(name: str) -> None:
    text = registry.pass_class(name).__doc__ or ""
    assert "before  " in text
    assert "after  " in text
    assert "Does not fire" in text
