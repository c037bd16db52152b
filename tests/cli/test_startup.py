import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from chronotope.cli.main import app
from tests.inference.hand_made import fill_lake, register_twice

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

FRAMEWORKS = frozenset(
    {
        "great_expectations",
        "lightning",
        "mlflow",
        "onnxruntime",
        "optuna",
        "prefect",
        "torch",
    }
)
DATA_PACKAGES = frozenset({"deltalake", "duckdb", "pandas", "pyarrow", "scipy"})

# Runs one command line after the other, and writes the packages that are imported by then.
PROGRAM = """
import json, sys
from typer.testing import CliRunner
from chronotope.cli.main import app
results = [CliRunner().invoke(app, words) for words in json.loads(sys.argv[1])]
packages = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps([[(r.exit_code, r.output) for r in results], packages]))
"""


def run_in_clean_process(*command_lines: list[str]) -> tuple[list[tuple[int, str]], set[str]]:
    """Exit codes and outputs of command lines, and the packages they imported together."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROGRAM, json.dumps(command_lines)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    results, packages = json.loads(done.stdout)
    return [(exit_code, output) for exit_code, output in results], set(packages)


def test_help_imports_no_package_that_does_the_work() -> None:
    results, packages = run_in_clean_process(["--help"], *([name, "--help"] for name in COMMANDS))
    assert [exit_code for exit_code, _ in results] == [0] * (len(COMMANDS) + 1)
    for name, (_, output) in zip(COMMANDS, results[1:], strict=True):
        assert name in results[0][1]
        assert f"chronotope {name}" in output or f" {name} " in output
    assert not packages & (FRAMEWORKS | DATA_PACKAGES)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["predict"], "No such command"),
        (["train"], "Missing argument"),
        (["train", "town", "--confg", "quick.yaml"], "No such option"),
        (["recommend", "u1", "--dataset", "town", "-k", "0"], "greater than or equal to 1"),
        (["feedback", "town", "--mode", "cold"], "auto"),
        (["serve", "town", "--port", "http"], "valid integer"),
        (
            ["backfill", "--dataset", "town", "--from", "yesterday", "--to", "2026-01-01"],
            "%Y-%m-%d",
        ),
    ],
)
def test_a_wrong_argument_imports_no_package_that_does_the_work(
    words: list[str], problem: str
) -> None:
    ((exit_code, output),), packages = run_in_clean_process(words)
    assert exit_code == 2
    assert problem in output
    assert not packages & (FRAMEWORKS | DATA_PACKAGES)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["ingest", "no_town"], "No such dataset"),
        (["train", "no_town"], "No such dataset"),
        (["train", "simulated_city", "--config", "no.yaml"], "no such file"),
        (["train", "simulated_city", "--dry-run"], "max_epochs"),
        (["up", "--dataset", "no_town"], "No such dataset"),
        (["recommend", "u1", "--dataset", "no_town"], "No such dataset"),
        (["serve", "no_town"], "No such dataset"),
        (["promote", "1", "--dataset", "no_town", "--reason", "why"], "No such dataset"),
        (["history", "--dataset", "no_town"], "No such dataset"),
    ],
)
def test_a_wrong_name_or_setting_imports_no_framework(words: list[str], problem: str) -> None:
    ((_, output),), packages = run_in_clean_process(words)
    assert problem in output
    assert not packages & (FRAMEWORKS - {"onnxruntime"})


def test_recommend_opens_a_champion_without_the_frameworks(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    register_twice(tmp_path)
    words = ["recommend", "u00", "--dataset", "city", "--root", str(tmp_path), "--json"]
    ((exit_code, output),), packages = run_in_clean_process(words)
    assert exit_code == 0
    assert json.loads(output)["version"] == "1"
    assert not packages & (FRAMEWORKS - {"onnxruntime"})
