"""Diagnostics: what went wrong, where, and what to do about it, in the shape that rustc made familiar.

Every failure that a user can cause is a `PrunaError` with a code from `CODES`. Anything else that escapes is a bug
of ours. Codes are stable: scripts and search engines may rely on them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

FAILED = 1
USAGE = 2


@dataclass(frozen=True)
class Code:
    """One kind of failure: its headline for `--explain`, and the exit code of a run that ends with it."""

    meaning: str
    exit_code: int = FAILED


CODES: dict[str, Code] = {
    # C: the command line
    "C001": Code("The command line is not understood.", USAGE),
    "C002": Code("The output names the input, which is never overwritten.", USAGE),
    "C003": Code("The output cannot be written."),
    "C004": Code("An option needs another one that is missing.", USAGE),
    "C005": Code("There was a warning, and --strict makes warnings failures."),
    # M: the model file
    "M001": Code("The model file does not exist or cannot be read."),
    "M002": Code("The file is not an ONNX model (not a protobuf, or cut short)."),
    "M003": Code("A file with the model's external data is missing or too short."),
    "M004": Code("The model uses an operator that is not known."),
    "M005": Code("The graph has a cycle, or reads a tensor that nothing writes."),
    "M006": Code("The model is not valid ONNX."),
    "M007": Code("The model uses a construct that the IR cannot hold (sequences, optionals)."),
    "M008": Code("Weights hold NaN or Inf."),
    "M009": Code("ONNX Runtime refuses the model."),
    "M010": Code("Raising the opset changed the model's numbers, or made operators that ONNX Runtime cannot run."),
    "M011": Code("The opset that was asked for is lower than the model's, or newer than what is installed."),
    # P: pipelines and passes
    "P001": Code("The pipeline text has a syntax error.", USAGE),
    "P002": Code("No pass has this name.", USAGE),
    "P003": Code("The pass has no such option.", USAGE),
    "P004": Code("The value does not fit the option's type or range.", USAGE),
    "P005": Code("The passes stand in an order that cannot work.", USAGE),
    "P006": Code("The pass needs something that was not given (data, labels, a package).", USAGE),
    "P007": Code("A pass failed."),
    "P008": Code("A pass broke an invariant of the IR."),
    "P009": Code("A pass said that it changed nothing, but it did, or the reverse."),
    "P010": Code("A budget cannot be met, or what it limits cannot be counted."),
    # D: data
    "D001": Code("The dataset file or its sources cannot be read."),
    "D002": Code("The dataset description has an unknown or missing key, or a bad value."),
    "D003": Code("The samples do not fit the model's inputs (name, shape or dtype)."),
    "D004": Code("The samples hold NaN or Inf."),
    "D005": Code("The dataset, or a split that is needed, is empty."),
    "D006": Code("The file holds pickled objects, which are not loaded because they can run code."),
    "D007": Code("Labels are missing, or do not fit the samples or the metric."),
    "D008": Code("The user's own code failed: a metric function, or the function or iterable that gives the data."),
    # T, S, R: targets, statistics, replay
    "T001": Code("No target has this name.", USAGE),
    "S001": Code("The statistics belong to another model, or the model has changed upstream of a tensor."),
    "S002": Code("The statistics file cannot be read."),
    "R001": Code("The decision log does not fit this model, pipeline or version."),
    # Q: quantized graphs
    "Q001": Code("The quantized graph breaks rules of the target."),
    # E: emitters
    "E001": Code("No back end has this name.", USAGE),
    "E002": Code("The written file does not agree with the model."),
    "E003": Code("The back end's files do not run on this machine, so they cannot be measured here."),
    "E004": Code("The back end cannot write an operator of the model, or not in this form."),
    "E005": Code("The model has a shape that is not fixed, which the back end cannot write."),
    "E006": Code("The file would be larger than its format can hold."),
    # I: ourselves
    "I001": Code("pruna-ir failed in a way that it did not foresee: a bug, which we ask you to report."),
    # X: packages
    "X001": Code("A package that this feature needs is not installed."),
}


@dataclass(frozen=True)
class Diagnostic:
    """A message in parts.

    `place` is `file`, `file:line:column`, or a node's or tensor's name; `source` and `span` (start, end) quote the
    text at fault, if it is a text; `help` says what to do, `notes` what else is worth knowing.
    """

    code: str
    message: str
    place: str = ""
    source: str = ""
    span: tuple[int, int] | None = None
    help: str = ""
    notes: tuple[str, ...] = field(default=())

    def render(self) -> str:
        """The diagnostic as plain text, a screen at most."""
        lines = [f"error[{self.code}]: {self.message}"]
        if self.place:
            lines.append(f"  --> {self.place}")
        help_text = f"help: {self.help}" if self.help else ""
        if self.source and self.span is not None:
            start, end = self.span
            lines += [f"  | {self.source}", f"  | {' ' * start}{'^' * max(1, end - start)} {help_text}".rstrip()]
        elif help_text:
            lines.append(f"  = {help_text}")
        lines += [f"  = note: {note}" for note in self.notes]
        return "\n".join(lines)


class PrunaError(Exception):
    """A failure with a diagnostic: the only exception that reaches a user."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic

    @property
    def exit_code(self) -> int:
        """1 for a run that failed, 2 for one that was asked for wrongly."""
        return CODES[self.diagnostic.code].exit_code

    def __str__(self) -> str:
        return self.diagnostic.render()


def error(
    code: str,
    message: str,
    *,
    place: object = "",
    source: str = "",
    span: tuple[int, int] | None = None,
    help: str = "",
    notes: Iterable[str] = (),
) -> PrunaError:
    """Build the exception for a diagnostic: `raise error("M001", "no such file", place=path)`."""
    assert code in CODES, code
    return PrunaError(Diagnostic(code, message, str(place), source, span, help, tuple(notes)))


def did_you_mean(word: str, known: Iterable[str], kind: str) -> str:
    """A help text that names the closest of the known words, or lists them if none is close."""
    choices = sorted(known)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if close:
        article = "an" if kind[0] in "aeiou" else "a"
        return f"{article} {kind} with a similar name exists: `{close[0]}`"
    return f"known: {', '.join(choices)}" if choices else f"there is no {kind} to name"
