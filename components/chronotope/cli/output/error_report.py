"""Report of exceptions of commands: one line and an exit code; the stack trace on demand."""

import os
import re
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

from chronotope.cli.output.foreign_errors import message_of, translate_error, type_names
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.contracts.errors import ChronotopeError
from chronotope.contracts.escaping import visible_line
from chronotope.runtime.secrets import mask_secrets

DEBUG: Final = "CHRONOTOPE_DEBUG"
"""Environment variable with the same effect as ``--debug``."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C: 128 plus the signal number, as in shells."""

BROKEN_PIPE: Final = 141
"""Exit code if the reader of the output has closed the pipe: 128 plus SIGPIPE."""

TERMINATED: Final = 143
"""Exit code if a flow was terminated by SIGTERM."""

_RUN_AGAIN: Final = "Nothing is lost: a command that writes continues when it is run again."
_TERMINATION: Final = "prefect.exceptions.TerminationSignal"
_DEBUG_FLAG: Final = "--debug"
_DIGIT_OPTION: Final = re.compile(r"--?\d.*")
_ROOT: Final = "chronotope.root"
_MAX_CHARS: Final = 500
_HINT: Final = f"Run the same command with {_DEBUG_FLAG} or {DEBUG}=1 for the full stack trace."


class ReportingCommand(TyperCommand):
    """Command that stores its project root in the context, for the error report."""

    def parse_args(self, click_context: Any, args: list[str]) -> list[str]:
        """Parse the words of the command; a negative id is not mistaken for an option."""
        try:
            return super().parse_args(click_context, args)
        except TyperException as error:
            option_name = str(getattr(error, "option_name", ""))
            if _DIGIT_OPTION.fullmatch(option_name):
                error.message = (
                    f"No such option: {option_name}. An id that begins with a dash is written "
                    "after --, at the end of the command, as in: chronotope recommend --dataset "
                    "DATASET -- -88"
                )
            raise

    def invoke(self, click_context: Any) -> Any:
        """Run the command."""
        click_context.meta[_ROOT] = click_context.params.get("root")
        return super().invoke(click_context)


class ReportingGroup(TyperGroup):
    """Group of all commands, which accepts ``--debug`` at any position and reports exceptions."""

    def parse_args(self, click_context: Any, args: list[str]) -> list[str]:
        """Move ``--debug`` before the command, where the common options are parsed."""
        options_end = args.index("--") if "--" in args else len(args)
        option_words = [
            option_word for option_word in args[:options_end] if option_word != _DEBUG_FLAG
        ]
        debug_flag = [_DEBUG_FLAG] if len(option_words) < options_end else []
        return super().parse_args(click_context, [*debug_flag, *option_words, *args[options_end:]])

    def invoke(self, click_context: Any) -> Any:
        """Run the chosen command."""
        with reported_errors(click_context):
            return super().invoke(click_context)


@contextmanager
def reported_errors(click_context: Any) -> Iterator[None]:
    """Report an exception of the block in one line on standard error, and set the exit code.

    Args:
        click_context: Context of the group; its ``meta`` contains the project root.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, TyperException, SystemExit):
        raise  # handled by Typer
    except KeyboardInterrupt:
        _print_error(f"Interrupted. {_RUN_AGAIN}", message_title="")
        raise typer.Exit(INTERRUPTED) from None
    except BaseException as error:  # Rust panics do not derive from Exception
        if isinstance(error, BrokenPipeError) and _is_stdout_closed():
            raise typer.Exit(BROKEN_PIPE) from None
        if _TERMINATION in type_names(error):
            _print_error(f"Terminated. {_RUN_AGAIN}", message_title="")
            raise typer.Exit(TERMINATED) from None
        _report(error, click_context)
        raise typer.Exit(1) from None


def _report(error: BaseException, click_context: Any) -> None:
    """Print the error; the stack trace of an unexpected exception is written to a file."""
    is_debug = bool(click_context.params.get("debug"))
    translated_error = translate_error(error)
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
        "This is a bug of Chronotope: please report it with the output of --debug."
    )
    trace_path = None if is_debug else _write_trace(error, click_context.meta.get(_ROOT))
    if trace_path is not None:
        message_lines.append(f"The full stack trace is in {trace_path}")
    _print_error(" ".join(message_lines))


def _print_error(message_text: str, message_title: str = "Error: ") -> None:
    """Print a message in red; a closed standard error is ignored."""
    printed_line = visible_line(mask_secrets(message_text))
    with suppress(OSError, ValueError):
        error_console = TerminalConsole(stderr=True)
        if message_title:
            error_console.print(message_title, style="bold red", end="")
        error_console.print(printed_line, style="red", soft_wrap=True)


def _trace(error: BaseException) -> str:
    return mask_secrets("".join(traceback.format_exception(error)))


def _write_trace(error: BaseException, project_root: Path | None) -> Path | None:
    """Write the stack trace below the root or to the temporary folder; None if neither works."""
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


def _is_stdout_closed() -> bool:
    """Whether standard output is a pipe without a reader; if so, it is redirected to /dev/null."""
    try:
        stdout_fd = sys.stdout.fileno()
    except (OSError, ValueError):  # not a real file
        return False
    stdout_poll = select.poll()
    stdout_poll.register(stdout_fd, select.POLLOUT)
    if not any(poll_event & select.POLLERR for _, poll_event in stdout_poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout_fd)  # for the rest of the buffer
    return True
