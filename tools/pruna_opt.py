"""`pruna-opt`: the command line of the compiler.

Only what reads the command line is imported here; everything heavy waits until there is work, so that `--help` and
mistakes in the options are answered at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress

from pruna_ir.diagnostics import CODES, USAGE, PrunaError, error
from pruna_ir.tools.options import Options, parse
from pruna_ir.tools.talk import Talk

DONE = 0
INTERRUPTED = 130  # what a shell reports for SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 0 done, 1 failed, 2 asked for wrongly.

    No exception leaves this function. `--debug` adds tracebacks to diagnostics.
    """
    given = sys.argv[1:] if arguments is None else arguments
    talk = Talk()
    try:
        options = parse(given)
        talk = Talk(quiet=options.quiet, verbose=options.verbose, strict=options.strict)
        _dispatch(options, talk)
        sys.stdout.flush()
    except SystemExit as request:  # argparse, after it has printed the help
        return request.code if isinstance(request.code, int) else USAGE
    except KeyboardInterrupt:
        talk.fail("error: interrupted; nothing was written")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return CODES["C003"].exit_code
    except Exception as failure:
        found = failure if isinstance(failure, PrunaError) else _internal(failure)
        if {"-debug", "--debug"} & set(given):
            talk.fail("".join(traceback.format_exception(failure)).rstrip())
        talk.fail(found.diagnostic.render())
        return found.exit_code
    return DONE


def _dispatch(options: Options, talk: Talk) -> None:
    from pruna_ir.tools import inform

    if options.version:
        _print(inform.version_lines())
    elif options.list_passes:
        _print(inform.list_passes())
    elif options.list_targets:
        _print(inform.list_targets())
    elif options.explain is not None:
        _print(inform.explain(options.explain))
    elif options.print_pipeline:
        from pruna_ir.tools.plan import make_manager

        _print([make_manager(options).text])
    elif options.explain_quantization and not options.dry_run:
        from pruna_ir.tools import explain_quantization
        from pruna_ir.tools.plan import make_plan

        explain_quantization.run(make_plan(options), talk)
    else:
        from pruna_ir.tools.optimize import run
        from pruna_ir.tools.plan import make_plan

        run(make_plan(options), talk)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _internal(failure: Exception) -> PrunaError:
    """The diagnostic of a failure that nobody foresaw, with the place in our code."""
    frames = traceback.extract_tb(failure.__traceback__)
    ours = next((frame for frame in reversed(frames) if "pruna_ir" in frame.filename), frames[-1])
    reason = (str(failure).strip().splitlines() or [""])[0][:300]
    place = f"{os.path.basename(ours.filename)}:{ours.lineno}, in {ours.name}"
    notes = ["--debug shows the traceback; --reproducer DIR keeps what is needed to repeat a failing pass"]
    help_text = "this is a bug in pruna-ir, not in your model: please report it with this text"
    return error("I001", f"{type(failure).__name__}: {reason}", place=place, help=help_text, notes=notes)


def _drop_stdout() -> None:
    """Whoever read stdout has gone: nothing more can be written, not even by the interpreter's own flush at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
