"""``chronotope train``: its table fits into a terminal, its command can be pasted into a shell."""

import io
import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.cli.train import SHOWN, metrics_table, mlflow_command


@pytest.mark.parametrize("name", ["plain", "two words", "it's", "a$b;c"])
def test_the_command_of_the_mlflow_ui_is_one_word_a_path(tmp_path: Path, name: str) -> None:
    *words, store_url = shlex.split(mlflow_command(tmp_path / name))
    assert words == ["mlflow", "ui", "--backend-store-uri"]
    assert store_url.startswith("sqlite:")
    assert "mlflow.db" in store_url


def test_the_metrics_fit_into_eighty_columns() -> None:
    names = ["challenger", "popularity_week", "ease_popularity_week"]
    metrics = {name: dict.fromkeys(SHOWN, 0.1234) for name in names}
    printed = io.StringIO()
    TerminalConsole(file=printed, width=80).print(metrics_table(metrics))
    lines = printed.getvalue().splitlines()
    assert [line.split() for line in lines if "ease" in line] == [
        ["ease_popularity_week", *["0.123"] * len(SHOWN)]
    ]
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed.getvalue()


def test_zero_shot_takes_the_checkpoint_and_trains_nothing(tmp_path: Path) -> None:
    options = ["--zero-shot", "--root", str(tmp_path), "--dry-run"]
    shown = CliRunner().invoke(app, ["train", "simulated_city", *options])
    training = json.loads(shown.stdout)["training"]
    assert (training["init"], training["transfer_epochs"]) == ("pretrained", 0)
