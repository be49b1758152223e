"""The networks that a quantized one is timed against: the same in single and in half precision."""

from __future__ import annotations

from pruna_ir.analysis.diagnosis.float_form import float_form
from pruna_ir.model import Model
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.targets.tensorrt import TENSORRT


def float_networks(model: Model) -> dict[str, Model]:
    """The model without its Q/DQ, by precision. Their weights are the rounded ones: they are there to be timed."""
    single = float_form(model)
    half = single.clone()
    PassManager.parse("convert-fp16<kernels=any>").run(half, target=TENSORRT)
    return {"fp16": half, "fp32": single}
