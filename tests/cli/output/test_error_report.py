"""Whatever a command raises: one line, an exit code, no secret, nothing that steers a terminal."""

import json
import signal
import sqlite3
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
import sqlalchemy
import typer
import yaml
from prefect.exceptions import TerminationSignal
from typer.testing import CliRunner, Result

from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.cli.main import app as chronotope
from chronotope.cli.output.error_report import ReportingCommand, ReportingGroup
from chronotope.cli.output.foreign_errors import translate_error
from chronotope.contracts.errors import ConfigError
from chronotope.lake.store_errors import translate_store_errors
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.model_versions import register_version
from chronotope.registry.promotion import promote
from chronotope.testing.recommender_suite import sample_catalog
from tests.inference.hand_made import LAST_S, fill_lake, write_graph

SECRET = "hunter22"  # noqa: S105 - of nobody
HOSTILE = "\x1b[31m\x1b]0;owned\x07[red]tea[/red]\x9b2J :smile:"


class PanicException(BaseException):
    """What pyo3 raises when Rust code panics: no ``Exception``."""

    __module__ = "pyo3_runtime"


def fails(work: Callable[[], object], *words: str) -> Result:
    """Run a command that does some work, below a group as ours is."""
    app = typer.Typer(cls=ReportingGroup)

    @app.callback()
    def _main(
        debug: bool = typer.Option(False, "--debug", envvar="CHRONOTOPE_DEBUG"),
    ) -> None: ...

    @app.command(cls=ReportingCommand)
    def go(root: Path = Path()) -> None:
        work()

    return CliRunner().invoke(app, ["go", *words])


def raised_by(work: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is
        work()
    return caught.value


def write_to_a_full_disk() -> None:
    with Path("/dev/full").open("w") as file:
        file.write("x")
        file.flush()


def open_garbage_as(suffix: str) -> Path:
    path = Path(f"garbage{suffix}")
    path.write_bytes(b"garbage " * 200)
    return path


WORK: dict[str, tuple[Callable[[], object], str, str]] = {
    "full disk": (write_to_a_full_disk, "disk is full", "Free disk space"),
    "sqlite": (
        lambda: sqlite3.connect(open_garbage_as(".db")).execute("SELECT * FROM sqlite_master"),
        "database file is damaged",
        "chronotope doctor --repair",
    ),
    "url": (lambda: sqlalchemy.create_engine("gibberish"), "store is invalid", "_URL"),
    "dead server": (lambda: httpx.get("http://127.0.0.1:1"), "does not respond", "Start it"),
    "dead socket": (
        lambda: urllib.request.urlopen("http://127.0.0.1:1"),
        "not respond",
        "Start it",
    ),
    "parquet": (lambda: pq.read_table(open_garbage_as(".parquet")), "Parquet", "doctor --repair"),
    "onnx": (
        lambda: onnxruntime.InferenceSession(str(open_garbage_as(".onnx"))),
        "ONNX Runtime",
        "chronotope rollback",
    ),
    "json": (lambda: json.loads(""), "JSON file is empty", "chronotope doctor --repair"),
    "yaml": (lambda: yaml.safe_load("{"), "YAML", "Correct it"),
    "archive": (lambda: zipfile.ZipFile(open_garbage_as(".zip")), "archive", "again"),
    "missing file": (lambda: Path("nowhere").read_text(), "nowhere", "--root"),
    "file for folder": (lambda: list(Path("/dev/null/x").iterdir()), "/dev/null/x", "Move"),
    "missing module": (lambda: __import__("no_such_module"), "no_such_module", "pip install"),
}


@pytest.mark.parametrize("name", list(WORK))
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_what_is_foreign_is_one_line_with_a_way_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    work, what, way_out = WORK[name]
    done = fails(work)
    assert done.exit_code == 1
    assert "Traceback" not in done.output
    first, second = done.stderr.splitlines()
    assert first.startswith("Error: ")
    assert what in first
    assert way_out in first
    assert "--debug" in second
    assert not (tmp_path / "data").exists()


def test_a_panic_of_rust_is_a_broken_table() -> None:
    def panic() -> None:
        raise PanicException("called `Option::unwrap()` on a `None` value")

    done = fails(panic)
    assert (done.exit_code, "doctor --repair" in done.stderr) == (1, True)

    def read() -> None:
        with translate_store_errors("events"):
            panic()

    assert "Table 'events'" in fails(read).stderr


def test_our_error_behind_a_foreign_one_is_what_is_said() -> None:
    own = ConfigError("No such thing", received="x", way_out="Make one")

    def wrapped() -> None:
        raise RuntimeError("a task failed") from own

    assert fails(wrapped).stderr.startswith("Error: No such thing. Received: x. Make one.")


def test_a_bug_does_not_pass_for_what_was_being_handled() -> None:
    def stumble() -> None:
        try:
            write_to_a_full_disk()
        except OSError:
            list[int]().pop()

    assert translate_error(raised_by(stumble)) is None


def test_the_unexpected_is_one_line_and_leaves_its_trace_in_a_private_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").mkdir()

    def divide() -> None:
        raise ZeroDivisionError(f"of postgresql://ada:{SECRET}@db/x\nand more")

    done = fails(divide, "--root", str(tmp_path))
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert "unexpected ZeroDivisionError" in line
    assert "please report" in line
    (path,) = (tmp_path / "data" / "logs").iterdir()
    assert str(path) in line
    assert path.stat().st_mode & 0o777 == 0o600
    trace = path.read_text(encoding="utf-8")
    assert "Traceback" in trace
    assert SECRET not in trace + done.output


@pytest.mark.parametrize("words", [("--debug",), ()])
def test_debug_shows_the_trace_without_secrets_and_locals(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not words:
        monkeypatch.setenv("CHRONOTOPE_DEBUG", "1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fromtheenvironment")

    def connect() -> None:
        local = "fromtheenvironment" + SECRET
        raise ConnectionError(f"redis://:{SECRET}@h {local[:18]} {HOSTILE}")

    done = fails(connect, *words)
    assert done.exit_code == 1
    assert "Traceback" in done.stderr
    assert "in connect" in done.stderr
    assert SECRET not in done.output
    assert "fromtheenvironment" not in done.output
    assert "\x1b" not in done.output


@pytest.mark.parametrize(
    ("signalled", "code", "word"),
    [
        (KeyboardInterrupt(), 130, "Interrupted"),
        (TerminationSignal(signal=signal.SIGTERM), 143, "Terminated"),
    ],
)
def test_control_c_and_sigterm_are_one_line(signalled: BaseException, code: int, word: str) -> None:
    def interrupt() -> None:
        raise signalled

    done = fails(interrupt)
    assert (done.exit_code, len(done.stderr.splitlines())) == (code, 1)
    assert word in done.stderr


PROGRAM = """
import sys, time, typer
from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.cli.output.error_report import ReportingCommand, ReportingGroup
from chronotope.cli.output.terminal import TerminalConsole
app = typer.Typer(cls=ReportingGroup)
@app.callback()
def _main() -> None: ...
@app.command(cls=ReportingCommand)
def wait() -> None:
    print("ready", flush=True)
    time.sleep(60)
@app.command(cls=ReportingCommand)
def talk() -> None:
    print("ready", flush=True)
    sys.stdin.read()
    TerminalConsole().print("x" * 100)
app()
"""


@pytest.mark.parametrize(("name", "code", "lines"), [("wait", 130, 1), ("talk", 141, 0)])
def test_a_real_program_is_interrupted_and_loses_its_reader(
    name: str, code: int, lines: int
) -> None:
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", PROGRAM, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    if name == "wait":
        process.send_signal(signal.SIGINT)
    process.stdout.close()
    process.stdin.close()
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == code, told
    assert len(told.splitlines()) == lines, told


@pytest.fixture(scope="module")
def hostile_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion in a lake whose items have titles that would steer a terminal."""
    root = tmp_path_factory.mktemp("hostile")
    fill_lake(root)
    catalog = sample_catalog()
    titles = np.array([f"{HOSTILE} {n}" for n in range(len(catalog.item_category))])
    bundle, store = root / "bundle", open_store(root / "mlruns")
    bundle.mkdir()
    write_graph(bundle / MODEL)
    about = {"name": "hand", "dataset": "city", "data_version": "1", "history_len": 8}
    write_bundle(bundle, replace(catalog, item_title=titles), trained_until_s=LAST_S, **about)
    with store.run("city", "hand") as tracker:
        for _ in range(2):
            register_version(store, name="city", bundle_dir=bundle, run_id=tracker.run_id, tags={})
    promote(store, "city", "1", expected_champion=None, key="first", reason="first")
    return root


def call(root: Path, *words: str) -> Result:
    given = [*words, "--dataset", "city", "--root", str(root)]
    return CliRunner().invoke(chronotope, given, env={"COLUMNS": "250"})


@pytest.mark.slow
def test_titles_ids_and_reasons_are_shown_literally_and_cannot_steer(hostile_root: Path) -> None:
    title = r"[red]tea[/red]"
    for words in (
        ("recommend", "u00"),
        ("recommend", HOSTILE),
        ("promote", "2", "--reason", HOSTILE),
        ("history",),
        ("recommend", "u00", "--at", HOSTILE),
    ):
        done = call(hostile_root, *words)
        assert "Traceback" not in done.output
        assert not {"\x1b", "\x07", "\x9b"} & set(done.output), words
        if words[0] != "promote":
            assert title in done.output, words
            assert ":smile:" in done.output, words
    exact = json.loads(call(hostile_root, "recommend", "u00", "--json").stdout)
    assert exact["items"][0]["title"].startswith(HOSTILE)
