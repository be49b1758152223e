"""The options of pruna-opt: what they are called, what they take, and what they mean."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pruna_ir.diagnostics import error

STDOUT = Path("-")
GOALS = ("speed", "size")
LEVELS = ("O0", "O1", "O2", "O3")
DEFAULT_LEVEL = "O1"
REMARK_KINDS = ("all", "passed", "missed", "analysis")
DRIFTS = ("off", "sqnr", "metric")
DEFAULT_DRIFT = "sqnr"

# Options whose value may be left out, and what it is then.
_IMPLIED = {"--remarks": "all", "--drift": DEFAULT_DRIFT}
_ONE_DASH = re.compile(r"-[A-Za-z][A-Za-z0-9]*[a-z-][A-Za-z0-9-]*(=.*)?", re.DOTALL)
_LEVEL = re.compile(r"--?(O\w+)")

_EXAMPLES = """\
examples:
  pruna-opt model.onnx -o small.onnx                          the same numbers with fewer nodes (-O1)
  pruna-opt model.onnx -O2 --data data.yaml -o int8.onnx      quantized where that is faster and accurate enough
  pruna-opt model.onnx -O3 --budget macs=0.5 --data data.yaml -o half.onnx    half of the work, then quantized
  pruna-opt model.onnx -passes='simplify,fuse' -o -           chosen passes; the model as text on stdout
  pruna-opt model.onnx -O2 --data calib.npz --remarks=missed  why layers were not fused or not quantized
  pruna-opt model.onnx -O2 --data data.yaml --bisect          which transformation broke the numbers
  pruna-opt int8.onnx --explain-quantization --data data.yaml which layers of a quantized model lose the accuracy
  pruna-opt --explain quantize                                what a pass does, and its options
  pruna-opt --demo                                            all of it on a bundled model and data

One or two dashes are the same. Tables and messages go to stderr; stdout carries only what was asked for there.
Exit codes: 0 done, 1 failed, 2 asked for wrongly.
"""


@dataclass(frozen=True)
class Options:
    """The command line, read. `level` is None where -passes was given, and `passes` where a level was."""

    model: Path | None
    passes: str | None
    level: str | None
    opset: int | None
    target: str | None
    data: str | None
    goal: str
    max_drop: float
    budget: str | None
    sweep: str | None
    output: Path | None
    emit: str
    json: Path | None
    decisions: Path | None
    replay: Path | None
    manifest: Path | None
    save_stats: Path | None
    load_stats: list[Path] | None
    demo: bool
    list_passes: bool
    list_targets: bool
    explain: str | None
    print_pipeline: bool
    explain_quantization: bool
    dry_run: bool
    remarks: str | None
    verify_each: bool
    time_passes: bool
    drift: str
    print_changed: bool
    dump_dir: Path | None
    reproducer: Path | None
    bisect: bool
    bisect_tolerance: float | None
    bisect_limit: int | None
    strict: bool
    quiet: bool
    verbose: bool
    debug: bool
    version: bool

    @property
    def pipeline(self) -> str:
        """The text of the pipeline to run: `--opset` is a pass before the others."""
        raising = "" if self.opset is None else f"raise-opset<to={self.opset}>"
        return ",".join(part for part in (raising, self._chosen) if part)

    @property
    def pipeline_place(self) -> str:
        """What the pipeline's text came from, for diagnostics."""
        return "-passes" if self.passes is not None else f"-{self._chosen}"

    @property
    def _chosen(self) -> str:
        if self.passes is not None:
            return self.passes
        return self.level or ("O2" if self.demo or self.explain_quantization else DEFAULT_LEVEL)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise error("C001", message[:1].lower() + message[1:], help="`pruna-opt --help` shows all options")


def parse(arguments: Sequence[str]) -> Options:
    """Read a command line; raises C001 or C004. Prints the help and exits where that is asked for."""
    parser = make_parser()
    found, rest = parser.parse_known_args(_canonical(arguments))
    if rest:
        raise _unknown(rest[0], parser)
    options = Options(**vars(found))
    _check(options)
    return options


def _canonical(arguments: Sequence[str]) -> list[str]:
    """The arguments with two dashes for all long options, and with the values that may be left out."""
    result: list[str] = []
    for argument in arguments:
        level = _LEVEL.fullmatch(argument)
        if level:
            result.append(f"--level={_known_level(level[1])}")
            continue
        if _ONE_DASH.fullmatch(argument):
            argument = f"-{argument}"
        result.append(f"{argument}={_IMPLIED[argument]}" if argument in _IMPLIED else argument)
    return result


def _known_level(level: str) -> str:
    if level not in LEVELS:
        raise error("C001", f"unknown level `-{level}`", help=f"known: {', '.join(f'-{name}' for name in LEVELS)}")
    return level


def _unknown(argument: str, parser: argparse.ArgumentParser) -> Exception:
    if not argument.startswith("-"):
        return error("C001", f"unexpected argument `{argument}`", help="a run takes one model")
    name = argument.partition("=")[0]
    known = [
        option for action in parser._actions if action.help != argparse.SUPPRESS for option in action.option_strings
    ]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    similar = f"an option with a similar name exists: `{close[0]}`; " if close else ""
    return error("C001", f"unknown option `{name}`", help=f"{similar}`pruna-opt --help` shows all options")


def _check(options: Options) -> None:
    conflicts = [
        (options.passes is not None and options.level, "-passes and a level such as -O2 are both given"),
        (options.demo and options.model, "--demo brings its own model"),
        (options.decisions and options.replay, "--decisions records and --replay repeats: give one of them"),
        (options.output == STDOUT == options.json, "the model's text and the JSON cannot both go to stdout"),
        (options.budget and options.sweep, "--sweep tries budgets: leave --budget out"),
        (options.sweep and options.bisect, "--sweep and --bisect are both given"),
        (options.sweep and (options.decisions or options.replay), "--sweep makes several models: no log holds for all"),
        (options.sweep and options.manifest, "--sweep makes several models: no manifest holds for all"),
        (options.explain_quantization and options.output, "--explain-quantization writes no model: leave -o out"),
        (options.quiet and options.verbose, "--quiet and --verbose are both given"),
        (options.bisect and options.bisect_limit is not None, "--bisect searches by itself: leave --bisect-limit out"),
    ]
    for wrong, message in conflicts:
        if wrong:
            raise error("C001", message)
    _check_values(options)


def _check_values(options: Options) -> None:
    if options.level == "O3" and not (options.budget or options.sweep or options.print_pipeline):
        help_text = (
            "--budget macs=0.5 leaves half of the multiply-accumulates; params, bytes and latency are budgets too"
        )
        raise error("C004", "`-O3` needs a budget", help=help_text)
    if options.bisect_tolerance is not None and not options.bisect:
        raise error("C004", "`--bisect-tolerance` is for --bisect, which is not given")
    if not 0 <= options.max_drop <= 1:
        raise error("C001", f"`--max-drop` is a fraction between 0 and 1, not {options.max_drop}")
    if options.remarks is not None:
        try:
            re.compile(options.remarks)
        except re.error as failure:
            raise error("C001", f"`--remarks` is no regular expression: {failure}") from None
    if options.bisect_limit is not None and options.bisect_limit < 0:
        raise error("C001", f"`--bisect-limit` is a number of steps, not {options.bisect_limit}")
    if options.bisect_tolerance is not None and not options.bisect_tolerance >= 0:
        raise error("C001", f"`--bisect-tolerance` is 0 or more, not {options.bisect_tolerance}")


def make_parser() -> argparse.ArgumentParser:
    """The parser; destinations are the fields of `Options`."""
    parser = _Parser(
        prog="pruna-opt",
        usage="pruna-opt MODEL [-O1 | -O2 | -O3 | -passes='...'] [--data DATA] [-o OUT] [options]",
        description="Optimize a trained neural network: ONNX in, a smaller, faster, verified model out.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", type=Path, help="an .onnx file, or .onnxtxt for ONNX text")
    levels = (
        "-O0: nothing. -O1: exact simplification, the default. -O2: -O1, then quantization, which needs --data. -O3: "
        "channels are pruned before quantization, to a --budget."
    )
    _add_work(parser.add_argument_group("what is done", levels))
    _add_results(parser.add_argument_group("what is written"))
    _add_information(parser.add_argument_group("information, instead of a run"))
    _add_watching(parser.add_argument_group("watching a run"))
    _add_talk(parser.add_argument_group("messages"))
    return parser


def _add_work(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--level", help=argparse.SUPPRESS)  # what -O1 becomes
    group.add_argument("--passes", metavar="'A,B<x=1;y=2>'", help="passes to run, in this order")
    group.add_argument("--opset", type=int, metavar="N", help="raise the model's opset first, for newer operators")
    group.add_argument("--target", metavar="NAME", help="what the model will run on; default: the back end's")
    group.add_argument(
        "--data", metavar="DATA", help="a .yaml, .npz, .npy, folder of images, module:function, or `random`"
    )
    group.add_argument("--demo", action="store_true", help="optimize the bundled model at -O2 into this folder, or -o")
    group.add_argument("--goal", choices=GOALS, default="speed", help="what quantization is for; default: speed")
    group.add_argument(
        "--max-drop",
        type=float,
        default=0.01,
        metavar="FRACTION",
        help="largest relative loss of the metric that is accepted, beside what a budget costs; default: 0.01",
    )
    group.add_argument(
        "--budget",
        metavar="'macs=0.5'",
        help="fractions of macs, params, bytes or latency that pruning leaves: one of them, or several after `;`",
    )
    group.add_argument(
        "--sweep",
        metavar="'macs=[0.9,0.7]'",
        help="try each budget, and print one table on stdout (--json: as JSON); -o is a folder for the models",
    )


def _add_results(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-o", "--output", type=Path, metavar="OUT", help="the file to write; `-`: text on stdout")
    group.add_argument("--emit", default="onnx", metavar="'A,B<x=1>'", help="back ends to write with; default: onnx")
    group.add_argument("--json", type=Path, metavar="FILE", help="write the summary as JSON; `-`: to stdout")
    group.add_argument("--decisions", type=Path, metavar="FILE", help="write the choices that rest on measurements")
    group.add_argument("--replay", type=Path, metavar="FILE", help="take those choices from FILE: identical bytes")
    group.add_argument("--manifest", type=Path, metavar="FILE", help="write which channels pruning kept, as JSON")
    group.add_argument("--save-stats", type=Path, metavar="FILE", help="keep what calibration collected (.npz)")
    group.add_argument(
        "--load-stats",
        type=Path,
        action="append",
        metavar="FILE",
        help="calibrate from FILE instead of the data; several times: from all of them together",
    )


def _add_information(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--list-passes", action="store_true", help="all passes and named pipelines")
    group.add_argument("--list-targets", action="store_true", help="all targets and back ends")
    group.add_argument("--explain", metavar="NAME", help="a pass, pipeline, target, back end or diagnostic code")
    group.add_argument("--print-pipeline", action="store_true", help="the pipeline written out in full")
    group.add_argument(
        "--explain-quantization",
        action="store_true",
        help="which layers of a quantized MODEL, or of what -O2 or -passes make of it, lose the accuracy; needs --data",
    )
    group.add_argument("--dry-run", action="store_true", help="check everything, say what would be done, and stop")
    group.add_argument("--version", action="store_true", help="versions of pruna-opt and of what it builds on")


def _add_watching(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--remarks",
        metavar="KIND",
        help="reasons: all (also without a KIND), passed, missed (the largest tensors first), analysis, or a regular "
        "expression of passes",
    )
    group.add_argument("--verify-each", action="store_true", help="verify the whole model after every pass")
    group.add_argument("--time-passes", action="store_true", help="where the time goes, by pass and rule")
    group.add_argument(
        "--drift",
        choices=DRIFTS,
        default=DEFAULT_DRIFT,
        help="what is measured after each pass that changed the model, if there is data; default: sqnr of the outputs",
    )
    group.add_argument("--print-changed", action="store_true", help="what each pass changed, as a text difference")
    group.add_argument("--dump-dir", type=Path, metavar="DIR", help="write the model after each pass that changed it")
    group.add_argument("--reproducer", type=Path, metavar="DIR", help="on failure, write what is needed to repeat it")
    group.add_argument("--bisect", action="store_true", help="find the transformation that breaks the numbers")
    group.add_argument("--bisect-tolerance", type=float, metavar="E", help="largest sound error; default: 0.001")
    group.add_argument("--bisect-limit", type=int, metavar="N", help="stop after N transformations")


def _add_talk(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--strict", action="store_true", help="warnings are failures: nothing is written")
    group.add_argument("--quiet", action="store_true", help="warnings and errors only")
    group.add_argument("--verbose", action="store_true", help="what each pass did, as it is done")
    group.add_argument("--debug", action="store_true", help="tracebacks of failures, and checks of the passes' claims")
