"""What becomes of a case of ONNX's backend suite that a back end writes and its runtime runs."""

from __future__ import annotations

import faulthandler
import os
import pickle
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from backend_cases import Case, variants
from conformance import INVALID, Status, first_line, outputs_of, problem_of

from pruna_ir.diagnostics import PrunaError
from pruna_ir.runtime.runner import Runner
from pruna_ir.runtime.session import Session

# The forms of cases that are run, and what they are.
FORMS = {
    "as written": "the case itself, where shapes, axes and weights often are inputs of the model",
    "weights": "all inputs but the first are constants, as they are in a trained model",
}
# What a back end may say of a model; anything else that it says is a bug.
REFUSALS = ("E004", "E005", "E006", "M007", "M008", "M010", "Q001")
# A case that takes longer hangs.
SECONDS = 120
_NOTE = re.compile(r"`.*` \((?P<op>[\w.]+), reads .*?\): (?P<reason>.*)", re.DOTALL)

# Writes a case, and gives what opens the file, by the name of what runs it.
Write = Callable[[Case], Mapping[str, Callable[[], Runner]]]


@dataclass(frozen=True)
class Outcome:
    """How a case ended; if it was refused with which code, at which operators (with the reason), and the message."""

    status: Status
    why: str = ""
    code: str = ""
    reasons: tuple[tuple[str, str], ...] = ()


def forms(chosen: Sequence[Case]) -> Iterator[tuple[str, str, Case]]:
    """The name of a case, that of a form, and the case in it."""
    for case in chosen:
        yield from ((case.name, name, form) for name, form in variants(case) if name in FORMS)


def judge(case: Case, write: Write) -> Outcome:
    """Write a case that ONNX Runtime passes, and run it on all that can."""
    if case.name in INVALID:
        return Outcome(Status.UNCOUNTED, INVALID[case.name])
    try:
        problem = problem_of(case, outputs_of(Session(case.model, optimize=False), case))
    except Exception as failure:
        problem = first_line(failure)
    if problem:
        return Outcome(Status.UNCOUNTED, problem)
    try:
        runners = write(case)
    except PrunaError as failure:
        return refused(failure)
    except Exception as failure:
        return Outcome(Status.CRASHED, f"emission: {first_line(failure)}")
    try:
        for name, open_file in runners.items():
            problem = problem_of(case, outputs_of(open_file(), case))
            if problem:
                return Outcome(Status.WRONG, f"{name}: {problem}")
    except Exception as failure:
        return Outcome(Status.CRASHED, first_line(failure))
    return Outcome(Status.PASSED)


def refused(failure: PrunaError) -> Outcome:
    """The outcome for a diagnostic: a refusal if it is one about the model, with the reasons of its notes."""
    diagnostic = failure.diagnostic
    status = Status.REFUSED if diagnostic.code in REFUSALS else Status.CRASHED
    matches = [match for note in diagnostic.notes if (match := _NOTE.fullmatch(note))]
    found = {(match["op"], match["reason"]): None for match in matches}
    return Outcome(status, first_line(failure), diagnostic.code, tuple(found))


def isolated(judge: Callable[[Case], Outcome], chosen: Sequence[Case]) -> Iterator[Outcome]:
    """The outcomes of cases, judged in a process beside this one, since native code can end the process.

    When it does, the case is to blame, and another process goes on behind it.
    """
    done = 0
    while done < len(chosen):
        found, ended = _judged_beside(judge, chosen[done:])
        yield from found
        done += len(found)
        if done < len(chosen):
            yield Outcome(Status.CRASHED, f"the process ended with {signal.Signals(ended).name}")
            done += 1


def _judged_beside(judge: Callable[[Case], Outcome], chosen: Sequence[Case]) -> tuple[list[Outcome], int]:
    """The outcomes until the process ended, and the signal that ended it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        faulthandler.disable()
        try:
            with os.fdopen(writer, "wb") as stream:
                for case in chosen:
                    signal.alarm(SECONDS)
                    pickle.dump(judge(case), stream)
                    stream.flush()
        finally:
            os._exit(0)
    os.close(writer)
    found = []
    with os.fdopen(reader, "rb") as stream, suppress(EOFError, pickle.UnpicklingError):
        while True:
            found.append(pickle.load(stream))
    status = os.waitpid(child, 0)[1]
    return found, os.WTERMSIG(status) if os.WIFSIGNALED(status) else signal.SIGKILL
