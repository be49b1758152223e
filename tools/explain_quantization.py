"""`--explain-quantization`: where a quantized model loses its accuracy, layer by layer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pruna_ir.analysis.diagnosis.dynamic_products import dynamic_products
from pruna_ir.analysis.diagnosis.float_form import float_form
from pruna_ir.analysis.diagnosis.layer_errors import SAMPLES, layer_errors, output_sqnr
from pruna_ir.analysis.qdq import pairs
from pruna_ir.analysis.unmeasured import Unmeasured
from pruna_ir.model import Model
from pruna_ir.pipeline.context import data_missing
from pruna_ir.pipeline.manager import PassManager
from pruna_ir.remarks import RemarkKind, best_first
from pruna_ir.report.quantization import QuantizationReport, layers_table
from pruna_ir.runtime.session import Session
from pruna_ir.targets.host import host_kind
from pruna_ir.tools.job import Job, load_job
from pruna_ir.tools.options import STDOUT
from pruna_ir.writing import write_text

if TYPE_CHECKING:
    from rich.console import Console

    from pruna_ir.tools.plan import Plan
    from pruna_ir.tools.talk import Talk

# Layers that the table shows without --verbose.
SHOWN = 20
# Characters of a line where nobody's terminal says how many fit.
WIDTH = 180


def run(plan: Plan, talk: Talk) -> None:
    """Print the table on stdout, or the JSON where that is asked for there."""
    if plan.data is None:
        raise data_missing("--explain-quantization")
    job = load_job(plan, talk)
    remarks = PassManager.parse("restore-qdq").run(job.model).remarks
    products = list(dynamic_products(job.model.graph))
    shown = {node.name for product in products for node in (product.quantize, product.integer)}
    left_out: dict[str, list[str]] = {}
    for remark in remarks:
        if remark.kind is RemarkKind.MISSED and remark.node not in shown:
            left_out.setdefault(str(remark.reason), []).append(remark.node)
    for reason, nodes in left_out.items():
        more = f" (and {len(nodes) - 1} more)" if len(nodes) > 1 else ""
        talk.warn(f"`{nodes[0]}` is not in the table: {reason}{more}")
    quantized_already = bool(products) or next(pairs(job.model.graph), None) is not None
    reference = float_form(job.model) if quantized_already else _quantize(job)
    report = _measure(job, reference, "" if quantized_already else plan.manager.text)
    if plan.options.json is not None and plan.options.json != STDOUT:
        write_text(plan.options.json, report.to_json())
    if plan.options.json == STDOUT:
        sys.stdout.write(report.to_json())
    else:
        _show(report, plan, talk)


def _quantize(job: Job) -> Model:
    """Run the pipeline over the job's model; the float model that it rounded."""
    options = job.plan.options
    with job.talk.progress() as progress:
        result = job.plan.manager.run(
            job.model,
            data=job.data,
            target=job.plan.target,
            progress=progress,
            max_drop=options.max_drop,
            goal=options.goal,
        )
    for line in best_first([remark for remark in result.remarks if remark.kind is RemarkKind.MISSED]):
        job.talk.detail(line)
    return job.original if result.quantization is None else result.quantization.reference


def _measure(job: Job, reference: Model, pipeline: str) -> QuantizationReport:
    assert job.data is not None
    split = job.data.require("calibration").head(SAMPLES)
    batches = [batch.feeds for batch in split.batches(1)]
    target = job.plan.target
    elsewhere = None
    if host_kind() not in target.runs_on:
        elsewhere = Unmeasured(f"the target `{target.name}` is not this machine ({host_kind()})")
    with job.talk.progress() as progress:
        layers = layer_errors(
            job.model,
            reference,
            batches,
            knows_weights=bool(pipeline),
            no_runtime=elsewhere,
            progress=progress,
        )
    exact = Session(reference)
    return QuantizationReport(
        model=str(job.plan.model),
        target=target.name,
        pipeline=pipeline,
        samples=sum(batch.count for batch in split.batches(1)),
        simulated=output_sqnr(exact, Session(job.model, optimize=False), batches),
        runtime=elsewhere or output_sqnr(exact, Session(job.model), batches),
        layers=layers,
    )


def _show(report: QuantizationReport, plan: Plan, talk: Talk) -> None:
    console = _console()
    if not report.layers:
        console.print("nothing is quantized: --verbose says why")
        return
    most = len(report.layers) if plan.options.verbose else SHOWN
    console.print(layers_table(report, most))
    if len(report.layers) > most:
        console.print(f"and {len(report.layers) - most} layers that do less (--verbose shows them, --json has them)")
    runtime = report.runtime
    ran = f"not run: {runtime.reason}" if isinstance(runtime, Unmeasured) else f"{runtime:.1f} dB in the runtime"
    console.print(f"outputs: {report.simulated:.1f} dB simulated, {ran}")
    if not report.pipeline:
        talk.say("compared with the model without its Q/DQ: the error of its weights is not in these figures")


def _console() -> Console:
    from rich.console import Console

    plain = {"highlight": False, "markup": False, "emoji": False}
    console = Console(**plain)  # type: ignore[arg-type]
    return console if console.is_terminal else Console(width=WIDTH, **plain)  # type: ignore[arg-type]
