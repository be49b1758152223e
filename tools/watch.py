"""The instruments that the options ask for, and what they have to say at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pruna_ir.instruments.base import Instrument
from pruna_ir.instruments.drift import Drift
from pruna_ir.instruments.dump import DumpDir, PrintChanged
from pruna_ir.instruments.reproduce import Reproducer
from pruna_ir.instruments.timing import Timing
from pruna_ir.instruments.verify import VerifyEach
from pruna_ir.tools.options import DEFAULT_DRIFT

if TYPE_CHECKING:
    from pruna_ir.diagnostics import PrunaError
    from pruna_ir.model import Model
    from pruna_ir.pipeline.context import Context
    from pruna_ir.pipeline.manager import Stage
    from pruna_ir.pipeline.pass_base import Pass
    from pruna_ir.tools.plan import Plan
    from pruna_ir.tools.talk import Talk

# Rules that took less than this part of the slowest one are left out of --time-passes.
_NOTICEABLE = 0.01


class Watch:
    """The instruments of one run. What is not asked for is None."""

    def __init__(self, plan: Plan, talk: Talk) -> None:
        options = plan.options
        self.drift = Drift(metric=options.drift == "metric") if options.drift != "off" else None
        self.timing = Timing() if options.time_passes else None
        self.reproducer = Reproducer(options.reproducer, repeated_arguments(plan)) if options.reproducer else None
        asked: list[Instrument | None] = [
            self.reproducer,
            _Announce(talk),
            VerifyEach(debug=options.debug) if options.verify_each else None,
            self.drift,
            self.timing,
            DumpDir(options.dump_dir) if options.dump_dir else None,
            PrintChanged(talk.say) if options.print_changed else None,
        ]
        self.instruments: Sequence[Instrument] = [instrument for instrument in asked if instrument is not None]

    def failure_notes(self, failure: PrunaError) -> list[str]:
        """What to add to the diagnostic of a failed run: where its reproducer is, or how to get one."""
        if self.reproducer is None:
            ours = failure.diagnostic.code in ("P007", "P008", "P009")
            return ["`--reproducer DIR` writes a folder that makes this happen again"] if ours else []
        if self.reproducer.written is not None:
            return [f"`sh {self.reproducer.written}/reproduce.sh` makes this happen again"]
        return [f"there is no reproducer: {self.reproducer.problem or 'no pass failed'}"]


class _Announce(Instrument):
    """Says which pass runs, and with --verbose what it did."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def before(self, item: Pass, index: int, model: Model, context: Context) -> None:
        context.progress(item.name, 0, 0)

    def after(self, item: Pass, index: int, model: Model, context: Context, stage: Stage) -> None:
        counts = ", ".join(f"{count:,} {what}" for what, count in stage.counts.items())
        done = counts or ("changed" if stage.changed else "changed nothing")
        self._talk.detail(f"{stage.text}: {done}, {stage.seconds:.2f} s")


def repeated_arguments(plan: Plan) -> list[str]:
    """The options that matter to a pass, for a command that is run in another folder."""
    options = plan.options
    arguments = [f"--target={plan.target.name}"]
    if plan.data is not None:
        arguments.append(f"--data={_absolute(plan.data)}")
    arguments += [f"--goal={options.goal}", f"--max-drop={options.max_drop}"]
    if options.verify_each:
        arguments.append("--verify-each")
    if options.drift != DEFAULT_DRIFT:
        arguments.append(f"--drift={options.drift}")
    return [*arguments, "--debug"] if options.debug else arguments


def _absolute(data: str) -> str:
    """A data path that holds from any folder; `module:function` and `random` stay as they are."""
    path = Path(data)
    if path.exists():
        return str(path.absolute())
    file, colon, function = data.rpartition(":")
    return f"{Path(file).absolute()}:{function}" if colon and Path(file).is_file() else data


def time_report(timing: Timing) -> list[str]:
    """Seconds by pass, slowest first, and by rule below."""
    total = timing.seconds or 1.0
    lines = [f"{timing.seconds:.3f} s in passes"]
    for row in sorted(timing.passes, key=lambda row: -row.seconds):
        lines.append(f"  {row.seconds:8.3f} s {row.seconds / total:6.1%}  {row.text}")
    rules = sorted(timing.rules, key=lambda row: -row.seconds)
    shown = [row for row in rules if row.fired or row.seconds > _NOTICEABLE * total]
    lines += ["rules"] if shown else []
    lines += [
        f"  {row.seconds:8.3f} s  fired {row.fired:,} of {row.tried:,} times  {row.rule} in {row.pass_text}"
        for row in shown
    ]
    return lines
