"""``chronotope init`` writes a YAML that reads the log, and never overwrites one."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chronotope.cli.main import app
from chronotope.datasets.loading import load_spec


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = [f"ann,tea{n},0{n % 9 + 1}.02.2024 08:15" for n in range(20)]
    (tmp_path / "visits.csv").write_text("\n".join(["customer,article,seen", *rows]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["init", *words], input=answer)


def test_the_draft_is_shown_and_written_when_confirmed(project: Path) -> None:
    done = call("cafe", "visits.csv", answer="y\n")
    assert done.exit_code == 0, done.output
    for part in (
        "Of the first 20 rows, 20 are events",
        "First 10 events",
        "2024-02-01 08:15:00",
        "# not sure: time.timezone",
        "chronotope ingest cafe --dry-run",
    ):
        assert part in done.stdout
    spec = load_spec("cafe")
    assert spec.time.pattern == "%d.%m.%Y %H:%M"
    again = call("cafe", "visits.csv", "--yes")
    assert again.exit_code == 1
    assert "exists already" in again.stderr


def test_without_confirmation_nothing_is_written(project: Path) -> None:
    assert call("cafe", "visits.csv", answer="n\n").exit_code == 1
    assert call("cafe", "visits.csv").exit_code == 1
    assert call("cafe", "visits.csv", "--dry-run").exit_code == 0
    assert not (project / "conf").exists()


def test_json(project: Path) -> None:
    told = json.loads(call("cafe", "visits.csv", "--json").stdout)
    assert told["path"] == "conf/datasets/cafe.yaml"
    assert (project / told["path"]).read_text() == told["yaml"]
    assert len(told["first_events"]) == 10
    assert told["doubts"]


@pytest.mark.parametrize(
    ("name", "advice"), [("my-Shop", "init my_shop"), ("2024", "init log_2024"), ("a b", "a_b")]
)
def test_an_invalid_name_is_corrected(project: Path, name: str, advice: str) -> None:
    done = call(name, "visits.csv", "--yes")
    assert done.exit_code == 1
    assert advice in done.stderr
