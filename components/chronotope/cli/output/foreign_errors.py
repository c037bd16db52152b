"""Exceptions of libraries and of the operating system: what, what was received, the way out.

One table maps them. Types are matched by module and class name, so that no library is imported
to look at an error of another.
"""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from chronotope.contracts.errors import ChronotopeError

REPAIR: Final = "`chronotope doctor --repair` mends what can be mended"
_RUST_TRACE: Final = re.compile(r"\n\s*0: .*", re.DOTALL)
"""Where the trace of a Rust library begins in its message."""

_MAX_DEPTH: Final = 20


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """One line of the table: all conditions that are given have to hold.

    Attributes:
        what: What is wrong, for the user.
        way_out: What to do about it.
        types: Patterns of ``module.Class``; of the exception or one of its bases.
        pattern: Regular expression that occurs in the message.
        errnos: Numbers of the operating system.
    """

    what: str
    way_out: str
    types: tuple[str, ...] = ()
    pattern: str = ""
    errnos: frozenset[int] = field(default_factory=frozenset)

    def matches(self, error: BaseException) -> bool:
        """Whether this line is about an exception."""
        if self.errnos and getattr(error, "errno", None) in self.errnos:
            return True
        by_type = any(
            fnmatchcase(name, type_pattern)
            for name in type_names(error)
            for type_pattern in self.types
        )
        by_text = bool(self.pattern) and bool(re.search(self.pattern, str(error), re.IGNORECASE))
        if self.types and self.pattern:
            return by_type and by_text
        return by_type or by_text


_RETRY: Final = "run again: finished steps and committed rows are kept"
_ADDRESSES: Final = (
    "CHRONOTOPE_MLFLOW_URL, CHRONOTOPE_OPTUNA_URL, CHRONOTOPE_LAKE_URL, CHRONOTOPE_ARTIFACTS_URL, "
    "CHRONOTOPE_STORE or PREFECT_API_URL"
)

RULES: Final = (
    ErrorRule(
        "The disk is full",
        f"Free some space (`chronotope doctor` shows how much there is) and {_RETRY}",
        pattern=r"no space left on device|database or disk is full|file too large|"
        r"disk quota exceeded|os error (28|27|122)\b",
        errnos=frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG}),
    ),
    ErrorRule(
        "A folder cannot be written: its file system is read-only",
        "Give another --root, or mount the file system for writing",
        pattern=r"read-only file system|readonly database|os error 30\b",
        errnos=frozenset({errno.EROFS}),
    ),
    ErrorRule(
        "A file or folder may not be read or written",
        "Give this user the right to it (`ls -l` shows whose it is), or give another --root",
        types=("builtins.PermissionError",),
    ),
    ErrorRule(
        "A file or folder may not be read or written",
        "Give this user the right to it (`ls -l` shows whose it is), or give another --root",
        pattern=r"permission denied|unable to open database file|os error 13\b",
    ),
    ErrorRule(
        "Too many files are open",
        "Raise the limit (`ulimit -n 4096`) and run again",
        errnos=frozenset({errno.EMFILE, errno.ENFILE}),
    ),
    ErrorRule(
        "The memory is full",
        "Close other programs or take smaller settings (batch_rows, n_trials in parallel)",
        types=("builtins.MemoryError", "pyarrow.lib.ArrowMemoryError", "*.OutOfMemory*"),
        errnos=frozenset({errno.ENOMEM}),
        pattern=r"cannot allocate memory|std::bad_alloc|unable to allocate",
    ),
    ErrorRule(
        "Prefect's own server did not start",
        "Check that PREFECT_HOME (by default ~/.prefect) can be written and its disk is not full, "
        "or start a server (`prefect server start`) and set PREFECT_API_URL",
        pattern=r"ephemeral prefect api",
    ),
    ErrorRule(
        "Another process holds a database",
        "Wait until it has ended, or stop it, and run again",
        pattern=r"database (table )?is locked",
    ),
    ErrorRule(
        "A database file is damaged",
        f"{REPAIR}; run it, then run again",
        types=("sqlite3.*", "sqlalchemy.*", "mlflow.*", "optuna.*", "_duckdb.*", "duckdb.*"),
        pattern=r"malformed|file is not a database|disk i/o error|no such table|can't locate rev",
    ),
    ErrorRule(
        "The address of a store cannot be understood",
        f"Correct {_ADDRESSES}, whichever is set; such as postgresql://user@host/name or s3://bucket/prefix",
        types=(
            "sqlalchemy.exc.ArgumentError",
            "sqlalchemy.exc.NoSuchModuleError",
            "httpx.UnsupportedProtocol",
            "httpx.InvalidURL",
        ),
    ),
    ErrorRule(
        "The address of a store cannot be understood",
        f"Correct {_ADDRESSES}, whichever is set; such as postgresql://user@host/name or s3://bucket/prefix",
        pattern=r"could not parse (sqlalchemy )?url|invalid ipv6 url|port could not be cast|"
        r"port out of range|redis url must specify|invalid port|relative url without a base|"
        r"does not appear to be an ipv|unsupported protocol",
    ),
    ErrorRule(
        "A store or server does not answer",
        f"Start it or correct its address ({_ADDRESSES}), then {_RETRY}",
        types=(
            "psycopg.OperationalError",
            "sqlalchemy.exc.OperationalError",
            "redis.exceptions.*",
            "botocore.exceptions.*",
            "httpx.*",
            "httpcore.*",
            "requests.exceptions.*",
            "urllib3.exceptions.*",
            "prefect.exceptions.PrefectHTTPStatusError",
            "builtins.ConnectionError",
            "builtins.TimeoutError",
            "socket.gaierror",
        ),
    ),
    ErrorRule(
        "A store or server does not answer",
        f"Start it or correct its address ({_ADDRESSES}), then {_RETRY}",
        pattern=r"generic (s3|gcs|microsoftazure) error|connection refused|failed to reach api",
    ),
    ErrorRule(
        "A table of the lake is broken",
        f"{REPAIR}: it returns to the newest version that can be read",
        types=("pyo3_runtime.PanicException", "deltalake.*", "_internal.*"),
    ),
    ErrorRule(
        "A Parquet file is damaged or missing",
        f"`chronotope doctor` names it; {REPAIR}",
        pattern=r"parquet|corrupt snappy|thrift|local ?file ?system error|object at location",
        types=("pyarrow.*", "builtins.OSError", "_duckdb.*", "duckdb.*"),
    ),
    ErrorRule(
        "A Parquet file is damaged",
        f"`chronotope doctor` names it; {REPAIR}",
        pattern=r"corrupt (snappy|zstd|lz4|gzip)",
    ),
    ErrorRule(
        "ONNX Runtime cannot run a model's file",
        "Return to the champion before with `chronotope rollback`, or train again; "
        "`pip install -c constraints.txt onnxruntime` if another version is installed",
        types=("onnxruntime.*", "onnx.*"),
    ),
    ErrorRule(
        "A JSON file is empty or damaged",
        f"{REPAIR} (a step whose file is moved aside is done again)",
        types=("json.decoder.JSONDecodeError",),
    ),
    ErrorRule(
        "A YAML file cannot be read",
        "Correct it; dates and text with colons stand in quotes",
        types=("yaml.*",),
    ),
    ErrorRule(
        "A file is nested too deeply",
        "Flatten it: settings need a few levels, no more",
        types=("builtins.RecursionError",),
    ),
    ErrorRule(
        "A file is no text in UTF-8",
        "Save it as UTF-8, or give the file that was meant",
        types=("builtins.UnicodeDecodeError",),
    ),
    ErrorRule(
        "A checkpoint of a model is damaged",
        f"{REPAIR}, then run again: the step is done anew",
        pattern=r"pytorchstreamreader|loading state_dict|invalid load key|unpickling",
    ),
    ErrorRule(
        "An archive is damaged",
        "Copy or download the file again",
        types=("zipfile.BadZipFile", "gzip.BadGzipFile", "zlib.error", "lzma.LZMAError"),
    ),
    ErrorRule(
        "A setting cannot be used",
        "Correct it; --dry-run shows all settings where a command has it",
        types=("pydantic_core.*.ValidationError", "prefect.exceptions.Parameter*"),
    ),
    ErrorRule(
        "A package is missing or of another version",
        "`chronotope doctor` lists what is installed; `pip install -c constraints.txt chronotope`",
        types=("builtins.ImportError",),
    ),
    ErrorRule(
        "The MLflow store refuses",
        "Check that the registered model and the run still exist, and CHRONOTOPE_MLFLOW_URL",
        types=("mlflow.exceptions.*",),
    ),
    ErrorRule(
        "A database refuses",
        f"Check its address and its rights ({_ADDRESSES}), then {_RETRY}",
        types=("sqlalchemy.exc.*", "psycopg.*", "sqlite3.*", "optuna.exceptions.*"),
    ),
    ErrorRule(
        "A file or folder is missing",
        f"Give the right path or another --root; if it lies in data/, {REPAIR}",
        types=("builtins.FileNotFoundError",),
    ),
    ErrorRule(
        "A path is not what it should be",
        "Move what is in the way aside, or give another path",
        types=(
            "builtins.NotADirectoryError",
            "builtins.IsADirectoryError",
            "builtins.FileExistsError",
        ),
    ),
    ErrorRule(
        "The operating system refuses",
        "Check the disk and the file that is named; `chronotope doctor` looks at both",
        types=("builtins.OSError",),
    ),
)
"""The first line that matches any exception of the chain of causes holds: causes first."""


def translated(error: BaseException) -> ChronotopeError | None:
    """An exception as what, received, way out; None if the table does not know it.

    Args:
        error: Any exception; those that caused it are looked at too.
    """
    error_chain = list(chain_of(error))
    own_error = next(
        (
            chained_error
            for chained_error in error_chain
            if isinstance(chained_error, ChronotopeError)
        ),
        None,
    )
    if own_error is not None:
        return own_error
    for error_rule in RULES:
        matching_error = next(
            (
                chained_error
                for chained_error in reversed(error_chain)
                if error_rule.matches(chained_error)
            ),
            None,
        )
        if matching_error is not None:
            return ChronotopeError(
                error_rule.what, received=message_of(matching_error), way_out=error_rule.way_out
            )
    return None


def message_of(error: BaseException) -> str:
    """What an exception says, with the file it is about, without the trace of a Rust library."""
    error_text = _RUST_TRACE.sub("", str(error)).strip() or type(error).__qualname__
    if isinstance(error, KeyError):
        error_text = f"KeyError {error_text}"
    return error_text


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """An exception, then those that caused it, outermost first; groups are looked into.

    What was merely being handled when a built-in exception came up did not cause it: a bug of a
    handler must not pass for what it handled.
    """
    pending_errors, visited_ids = [error], set[int]()
    while pending_errors and len(visited_ids) < _MAX_DEPTH:
        chained_error = pending_errors.pop(0)
        if id(chained_error) in visited_ids:
            continue
        visited_ids.add(id(chained_error))
        yield chained_error
        if isinstance(chained_error, BaseExceptionGroup):
            pending_errors.extend(chained_error.exceptions)
        next_error = chained_error.__cause__ or (
            chained_error.__context__ if _shows_context(chained_error) else None
        )
        if next_error is not None:
            pending_errors.append(next_error)


def _shows_context(error: BaseException) -> bool:
    return not error.__suppress_context__ and type(error).__module__ != "builtins"


def type_names(error: BaseException) -> tuple[str, ...]:
    """``module.Class`` of an exception and its bases."""
    return tuple(
        f"{type_pattern.__module__}.{type_pattern.__qualname__}"
        for type_pattern in type(error).__mro__
    )
