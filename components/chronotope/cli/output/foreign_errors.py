"""Translation of exceptions of libraries and the operating system into user messages.

A table of rules maps an exception to a problem and advice. Types are matched by module and class
name, so that no library has to be imported for the check.
"""

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from chronotope.contracts.errors import ChronotopeError

REPAIR: Final = "Run `chronotope doctor --repair`"
_RUST_TRACE: Final = re.compile(r"\n\s*0: .*", re.DOTALL)
"""Stack trace that a Rust library appends to its message."""

_MAX_DEPTH: Final = 20


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """Rule that maps matching exceptions to a message.

    A rule matches by ``errnos`` alone, or by ``types`` and ``pattern``: by both if both are given.

    Attributes:
        problem: What is wrong, one sentence without a full stop.
        way_out: What the user can do about it.
        types: Patterns of ``module.Class`` of the exception or one of its base classes.
        pattern: Regular expression to find in the message, case-insensitive.
        errnos: Error numbers of the operating system.
    """

    problem: str
    way_out: str
    types: tuple[str, ...] = ()
    pattern: str = ""
    errnos: frozenset[int] = field(default_factory=frozenset)

    def matches(self, error: BaseException) -> bool:
        """Whether the rule applies to an exception."""
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


_RETRY: Final = "run again (finished steps and committed rows are kept)"
_ADDRESSES: Final = (
    "CHRONOTOPE_MLFLOW_URL, CHRONOTOPE_OPTUNA_URL, CHRONOTOPE_STATE_URL, CHRONOTOPE_LAKE_URL, "
    "CHRONOTOPE_ARTIFACTS_URL, CHRONOTOPE_STORE or PREFECT_API_URL"
)

RULES: Final = (
    ErrorRule(
        "The disk is full",
        f"Free disk space (`chronotope doctor` shows how much is free) and {_RETRY}",
        pattern=r"no space left on device|database or disk is full|file too large|"
        r"disk quota exceeded|os error (28|27|122)\b",
        errnos=frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG}),
    ),
    ErrorRule(
        "A folder cannot be written: its file system is read-only",
        "Choose another --root, or mount the file system for writing",
        pattern=r"read-only file system|readonly database|os error 30\b",
        errnos=frozenset({errno.EROFS}),
    ),
    ErrorRule(
        "This user has no permission to read or write a file or folder",
        "Grant the permission (`ls -l` shows the owner), or choose another --root",
        types=("builtins.PermissionError",),
    ),
    ErrorRule(
        "This user has no permission to read or write a file or folder",
        "Grant the permission (`ls -l` shows the owner), or choose another --root",
        pattern=r"permission denied|unable to open database file|os error 13\b",
    ),
    ErrorRule(
        "Too many files are open",
        "Raise the limit (`ulimit -n 4096`) and run again",
        errnos=frozenset({errno.EMFILE, errno.ENFILE}),
    ),
    ErrorRule(
        "The memory is full",
        "Close other programs, or reduce settings such as batch_rows or the parallel trials",
        types=("builtins.MemoryError", "pyarrow.lib.ArrowMemoryError", "*.OutOfMemory*"),
        errnos=frozenset({errno.ENOMEM}),
        pattern=r"cannot allocate memory|std::bad_alloc|unable to allocate",
    ),
    ErrorRule(
        "Prefect's own server did not start",
        "Check that PREFECT_HOME (by default ~/.prefect) is writable and its disk is not full, "
        "or start a server (`prefect server start`) and set PREFECT_API_URL",
        pattern=r"ephemeral prefect api",
    ),
    ErrorRule(
        "A database is locked by another process",
        "Wait until that process has finished, or stop it, and run again",
        pattern=r"database (table )?is locked",
    ),
    ErrorRule(
        "A database file is damaged",
        f"{REPAIR}, then run the command again",
        types=("sqlite3.*", "sqlalchemy.*", "mlflow.*", "optuna.*", "_duckdb.*", "duckdb.*"),
        pattern=r"malformed|file is not a database|disk i/o error|no such table|can't locate rev",
    ),
    ErrorRule(
        "The address of a store is invalid",
        f"Correct whichever is set of {_ADDRESSES}; valid are for example "
        "postgresql://user@host/name and s3://bucket/prefix",
        types=(
            "sqlalchemy.exc.ArgumentError",
            "sqlalchemy.exc.NoSuchModuleError",
            "httpx.UnsupportedProtocol",
            "httpx.InvalidURL",
        ),
    ),
    ErrorRule(
        "The address of a store is invalid",
        f"Correct whichever is set of {_ADDRESSES}; valid are for example "
        "postgresql://user@host/name and s3://bucket/prefix",
        pattern=r"could not parse (sqlalchemy )?url|invalid ipv6 url|port could not be cast|"
        r"port out of range|redis url must specify|invalid port|relative url without a base|"
        r"does not appear to be an ipv|unsupported protocol",
    ),
    ErrorRule(
        "A store or server does not respond",
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
        "A store or server does not respond",
        f"Start it or correct its address ({_ADDRESSES}), then {_RETRY}",
        pattern=r"generic (s3|gcs|microsoftazure) error|connection refused|failed to reach api",
    ),
    ErrorRule(
        "A table of the lake is damaged",
        f"{REPAIR}, which returns the table to its newest readable version",
        types=("pyo3_runtime.PanicException", "deltalake.*", "_internal.*"),
    ),
    ErrorRule(
        "A Parquet file is damaged or missing",
        f"{REPAIR}; `chronotope doctor` lists damaged files",
        pattern=r"parquet|corrupt snappy|thrift|local ?file ?system error|object at location",
        types=("pyarrow.*", "builtins.OSError", "_duckdb.*", "duckdb.*"),
    ),
    ErrorRule(
        "A Parquet file is damaged",
        f"{REPAIR}; `chronotope doctor` lists damaged files",
        pattern=r"corrupt (snappy|zstd|lz4|gzip)",
    ),
    ErrorRule(
        "ONNX Runtime cannot run the file of a model",
        "Return to the previous champion with `chronotope rollback`, or train again; run "
        "`pip install -c constraints.txt onnxruntime` if another version is installed",
        types=("onnxruntime.*", "onnx.*"),
    ),
    ErrorRule(
        "A JSON file is empty or damaged",
        f"{REPAIR}; a step whose file it moves aside runs again",
        types=("json.decoder.JSONDecodeError",),
    ),
    ErrorRule(
        "A YAML file cannot be read",
        "Correct its syntax; dates and text with colons need quotes",
        types=("yaml.*",),
    ),
    ErrorRule(
        "A file is nested too deeply",
        "Reduce the nesting: settings have only a few levels",
        types=("builtins.RecursionError",),
    ),
    ErrorRule(
        "A file is not UTF-8 text",
        "Save it as UTF-8, or choose another file",
        types=("builtins.UnicodeDecodeError",),
    ),
    ErrorRule(
        "A checkpoint of a model is damaged",
        f"{REPAIR}, then run the command again: the step runs again",
        pattern=r"pytorchstreamreader|loading state_dict|invalid load key|unpickling",
    ),
    ErrorRule(
        "An archive is damaged",
        "Copy or download the file again",
        types=("zipfile.BadZipFile", "gzip.BadGzipFile", "zlib.error", "lzma.LZMAError"),
    ),
    ErrorRule(
        "A setting is invalid",
        "Correct it; --dry-run shows all settings, for commands that have this option",
        types=("pydantic_core.*.ValidationError", "prefect.exceptions.Parameter*"),
    ),
    ErrorRule(
        "A package is missing or has an incompatible version",
        "Run `pip install -c constraints.txt chronotope`; `chronotope doctor` lists the packages",
        types=("builtins.ImportError",),
    ),
    ErrorRule(
        "MLflow reports an error",
        "Check that the registered model and the run exist, and check CHRONOTOPE_MLFLOW_URL",
        types=("mlflow.exceptions.*",),
    ),
    ErrorRule(
        "A database reports an error",
        f"Check its address and permissions ({_ADDRESSES}), then {_RETRY}",
        types=("sqlalchemy.exc.*", "psycopg.*", "sqlite3.*", "optuna.exceptions.*"),
    ),
    ErrorRule(
        "A file or folder is missing",
        "Correct the path, or choose another --root; if the file belongs to data/, run "
        "`chronotope doctor --repair`",
        types=("builtins.FileNotFoundError",),
    ),
    ErrorRule(
        "A path exists with another type: a file instead of a folder, or the reverse",
        "Move or rename the existing file or folder, or choose another path",
        types=(
            "builtins.NotADirectoryError",
            "builtins.IsADirectoryError",
            "builtins.FileExistsError",
        ),
    ),
    ErrorRule(
        "The operating system reports an error",
        "Check the disk and the file in the message; `chronotope doctor` checks both",
        types=("builtins.OSError",),
    ),
)
"""Rules in order of precedence: the first one that matches an exception of the chain applies."""


def translate_error(error: BaseException) -> ChronotopeError | None:
    """Exception as a ``ChronotopeError``; None if no rule matches.

    Args:
        error: Any exception; its causes are checked as well, innermost first.
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
                error_rule.problem,
                received=message_of(matching_error),
                way_out=error_rule.way_out,
            )
    return None


def message_of(error: BaseException) -> str:
    """Message of an exception without the stack trace of a Rust library; its type if empty."""
    error_text = _RUST_TRACE.sub("", str(error)).strip() or type(error).__qualname__
    if isinstance(error, KeyError):
        error_text = f"KeyError {error_text}"
    return error_text


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Exception and its causes, outermost first, including members of exception groups.

    The implicit context of a built-in exception is skipped: a bug in an exception handler must
    not be reported as the exception that it handled.
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
    """``module.Class`` of an exception's class and its base classes."""
    return tuple(
        f"{base_class.__module__}.{base_class.__qualname__}" for base_class in type(error).__mro__
    )
