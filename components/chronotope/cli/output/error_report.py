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

    def invoke(self, click_context: Any) -> Any:
        """Run the command."""
        click_context.meta[_ROOT] = click_context.params.get("root")
        return super().invoke(click_context)


class ReportingGroup(TyperGroup):
    """The commands of ``chronotope``: ``--debug`` may stand anywhere; no error escapes raw."""

    def parse_args(self, click_context: Any, args: list[str]) -> list[str]:
        """Move ``--debug`` to the front, where the options of all commands stand."""
        options_end = args.index("--") if "--" in args else len(args)
        option_words = [
            option_word for option_word in args[:options_end] if option_word != _DEBUG_FLAG
        ]
        debug_flag = [_DEBUG_FLAG] if len(option_words) < options_end else []
        return super().parse_args(click_context, [*debug_flag, *option_words, *args[options_end:]])

    def invoke(self, click_context: Any) -> Any:
        """Run whichever command was named."""
        with reported_errors(click_context):
            return super().invoke(click_context)


@contextmanager
def reported_errors(click_context: Any) -> Iterator[None]:
    """Turn an exception into a line on standard error and an exit code.

    Args:
        click_context: The group's context; the root of the command lies in its ``meta``.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, TyperException, SystemExit):
        raise  # what the command line itself does
    except KeyboardInterrupt:
        _print_error(
            "Interrupted; run again to go on after the last finished step.", message_title=""
        )
        raise typer.Exit(INTERRUPTED) from None
    except BaseException as error:  # panics of Rust libraries are no Exceptions
        if isinstance(error, BrokenPipeError) and _lost_its_reader():
            raise typer.Exit(BROKEN_PIPE) from None
        if _TERMINATION in type_names(error):
            _print_error(
                "Terminated; run again to go on after the last finished step.", message_title=""
            )
            raise typer.Exit(TERMINATED) from None
        _report(error, click_context)
        raise typer.Exit(1) from None


def _report(error: BaseException, click_context: Any) -> None:
    """Say what is wrong; an exception that nobody expected leaves its trace in a file."""
    is_debug = bool(click_context.params.get("debug"))
    translated_error = translated(error)
    if is_debug:
        terminal = TerminalConsole(stderr=True)
        terminal.print(_trace(error), soft_wrap=True)
    if isinstance(translated_error, ChronotopeError):
        _print_error(str(translated_error))
        if translated_error is not error and not is_debug:
            _print_error(_HINT, message_title="")
        return
    error_type = type(error).__qualname__
    message_lines = [f"unexpected {error_type}: {message_of(error)[:_MAX_CHARS]}"]
    message_lines.append(
        "This is a fault of Chronotope: please report it, and run again with --debug."
    )
    trace_path = None if is_debug else _write_trace(error, click_context.meta.get(_ROOT))
    if trace_path is not None:
        message_lines.append(f"The full trace is in {trace_path}")
    _print_error(" ".join(message_lines))


def _print_error(message_text: str, message_title: str = "Error: ") -> None:
    """One message in red; a closed standard error is nothing to stumble over."""
    printed_line = visible_line(mask_secrets(message_text))
    with suppress(OSError, ValueError):
        error_console = TerminalConsole(stderr=True)
        if message_title:
            error_console.print(message_title, style="bold red", end="")
        error_console.print(printed_line, style="red", soft_wrap=True)


def _trace(error: BaseException) -> str:
    return mask_secrets("".join(traceback.format_exception(error)))


def _write_trace(error: BaseException, project_root: Path | None) -> Path | None:
    """Keep the trace below the root, else in the folder of temporary files; None if neither."""
    trace_name = f"error-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    candidate_dirs = [Path(tempfile.gettempdir())]
    if project_root is not None and (project_root / "data").is_dir():
        candidate_dirs.insert(0, project_root / "data" / "logs")
    for trace_dir in candidate_dirs:
        with suppress(OSError):
            trace_dir.mkdir(parents=True, exist_ok=True)
            trace_path = trace_dir / trace_name
            trace_path.touch(mode=0o600)
            trace_path.write_text(_trace(error), encoding="utf-8", errors="backslashreplace")
            return trace_path
    return None


def _lost_its_reader() -> bool:
    """Whether standard output is a pipe that nobody reads any more; then it goes nowhere."""
    try:
        stdout_fd = sys.stdout.fileno()
    except (OSError, ValueError):  # no file behind it
        return False
    stdout_poll = select.poll()
    stdout_poll.register(stdout_fd, select.POLLOUT)
    if not any(poll_event & select.POLLERR for _, poll_event in stdout_poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout_fd)  # what is left in the buffer
    return True
