"""Whatever a command raises ends as one line and an exit code; the trace comes on demand."""

import os
import select
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from chronotope.cli.output.foreign_errors import message_of, translated, type_names
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.contracts.errors import ChronotopeError
from chronotope.contracts.escaping import visible_line
from chronotope.runtime.secrets import mask_secrets

DEBUG: Final = "CHRONOTOPE_DEBUG"
"""Variable that does what ``--debug`` does."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of the signal."""

BROKEN_PIPE: Final = 141
"""Exit code when whoever read the output has gone, as of programs that SIGPIPE ends."""

TERMINATED: Final = 143
"""Exit code when a flow was ended by SIGTERM."""

_TERMINATION: Final = "prefect.exceptions.TerminationSignal"
_DEBUG_FLAG: Final = "--debug"
_ROOT: Final = "chronotope.root"
_MAX_CHARS: Final = 500
_HINT: Final = f"The full trace: the same command with {_DEBUG_FLAG}, or {DEBUG}=1."


class ReportingCommand(TyperCommand):
    """A command that leaves its root where the report of an error finds it."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        ctx.meta[_ROOT] = ctx.params.get("root")
        return super().invoke(ctx)


class ReportingGroup(TyperGroup):
    """The commands of ``chronotope``: ``--debug`` may stand anywhere; no error escapes raw."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move ``--debug`` to the front, where the options of all commands stand."""
        end = args.index("--") if "--" in args else len(args)
        words = [word for word in args[:end] if word != _DEBUG_FLAG]
        flag = [_DEBUG_FLAG] if len(words) < end else []
        return super().parse_args(ctx, [*flag, *words, *args[end:]])

    def invoke(self, ctx: Any) -> Any:
        """Run whichever command was named."""
        with reported_errors(ctx):
            return super().invoke(ctx)


@contextmanager
def reported_errors(ctx: Any) -> Iterator[None]:
    """Turn an exception into a line on standard error and an exit code.

    Args:
        ctx: The group's context; the root of the command lies in its ``meta``.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, TyperException, SystemExit):
        raise  # what the command line itself does
    except KeyboardInterrupt:
        _print_error("Interrupted; run again to go on after the last finished step.", title="")
        raise typer.Exit(INTERRUPTED) from None
    except BaseException as error:  # panics of Rust libraries are no Exceptions
        if isinstance(error, BrokenPipeError) and _lost_its_reader():
            raise typer.Exit(BROKEN_PIPE) from None
        if _TERMINATION in type_names(error):
            _print_error("Terminated; run again to go on after the last finished step.", title="")
            raise typer.Exit(TERMINATED) from None
        _report(error, ctx)
        raise typer.Exit(1) from None


def _report(error: BaseException, ctx: Any) -> None:
    """Say what is wrong; an exception that nobody expected leaves its trace in a file."""
    debug = bool(ctx.params.get("debug"))
    known = translated(error)
    if debug:
        console = TerminalConsole(stderr=True)
        console.print(_trace(error), soft_wrap=True)
    if isinstance(known, ChronotopeError):
        _print_error(str(known))
        if known is not error and not debug:
            _print_error(_HINT, title="")
        return
    kind = type(error).__qualname__
    lines = [f"unexpected {kind}: {message_of(error)[:_MAX_CHARS]}"]
    lines.append("This is a fault of Chronotope: please report it, and run again with --debug.")
    path = None if debug else _write_trace(error, ctx.meta.get(_ROOT))
    if path is not None:
        lines.append(f"The full trace is in {path}")
    _print_error(" ".join(lines))


def _print_error(text: str, title: str = "Error: ") -> None:
    """One message in red; a closed standard error is nothing to stumble over."""
    line = visible_line(mask_secrets(text))
    with suppress(OSError, ValueError):
        errors = TerminalConsole(stderr=True)
        if title:
            errors.print(title, style="bold red", end="")
        errors.print(line, style="red", soft_wrap=True)


def _trace(error: BaseException) -> str:
    return mask_secrets("".join(traceback.format_exception(error)))


def _write_trace(error: BaseException, root: Path | None) -> Path | None:
    """Keep the trace below the root, else in the folder of temporary files; None if neither."""
    name = f"error-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    folders = [Path(tempfile.gettempdir())]
    if root is not None and (root / "data").is_dir():
        folders.insert(0, root / "data" / "logs")
    for folder in folders:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(_trace(error), encoding="utf-8", errors="backslashreplace")
            return path
    return None


def _lost_its_reader() -> bool:
    """Whether standard output is a pipe that nobody reads any more; then it goes nowhere."""
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):  # no file behind it
        return False
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)  # what is left in the buffer
    return True
