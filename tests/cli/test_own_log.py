"""docs/bring-your-own-log.md, run as it stands."""

import json
import re
import shlex
import shutil
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.cli.recommend import parse_moment
from chronotope.contracts import columns as c
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events

PROJECT = Path(__file__).parents[2]
DOC = (PROJECT / "docs" / "bring-your-own-log.md").read_text(encoding="utf-8")


def block(language: str, number: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", DOC, re.DOTALL)[number])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's root with the log and the YAML of the page, where it says they are."""
    for name, text in (
        ("data/inbox/visits.csv", block("csv")),
        ("conf/datasets/cafe.yaml", block("yaml")),
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copytree(PROJECT / "expectations", tmp_path / "expectations")
    return tmp_path


@pytest.mark.slow
def test_the_first_command_takes_the_log_in(
    prefect: None, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    first, *_ = block("sh").splitlines()
    done = CliRunner().invoke(app, [*shlex.split(first)[1:], "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["events"]["n_good"] == 3
    assert (project / "data" / "lake" / "cafe" / "events").is_dir()


def test_the_yaml_reads_the_log_as_it_is_meant(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    spec = load_spec("cafe")
    (batch,) = (normalise(spec, raw) for raw in read_events(spec))
    first = batch.rows.slice(0, 1).to_pylist()[0]
    assert (len(batch.rows), first[c.USER_ID], first[c.PLACE_ID]) == (3, "7", "north")
    assert first[c.OCCURRED_AT] == datetime(2025, 2, 3, 7, 15, tzinfo=UTC)  # Vienna, in winter
    assert first[c.UTC_OFFSET_MIN] == 60


def test_context_table_beside_the_log(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with (project / "conf/datasets/cafe.yaml").open("a", encoding="utf-8") as file:
        file.write(textwrap.dedent(block("yaml", 1)))
    assert load_spec("cafe").context_table_columns == ("rain_mm", "temperature_c")


def test_the_yaml_is_short() -> None:
    assert len(block("yaml").splitlines()) <= 12


def test_the_last_command_is_understood() -> None:
    *_, last = block("sh").splitlines()
    program, name, *words = shlex.split(last)
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    told = command.make_context(name, words).params
    assert (program, told["user"], told["dataset"]) == ("chronotope", "7", "cafe")
    assert parse_moment(told["request_time"]) == datetime(2025, 3, 1, 7, tzinfo=UTC)
