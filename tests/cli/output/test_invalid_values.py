"""Values out of bounds: each command names all of them, and nothing of the validator."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app

SETTINGS = "studyy: {n_trials: 3}\nmodel: {backbone: grue, history_len: -1}\n"
ANOMALY_SETTINGS = "studyy: {n_trials: 3}\n"


def shown_error(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 1, result.output
    return " ".join(result.stderr.split())


@pytest.mark.parametrize("command", [["train", "simulated_city"], ["pretrain", "--datasets", "a"]])
def test_all_problems_of_a_settings_file_are_named(tmp_path: Path, command: list[str]) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(SETTINGS, encoding="utf-8")
    message = shown_error(*command, "--config", settings, "--root", tmp_path, "--dry-run")
    assert "studyy: no such key" in message
    assert "model.backbone" in message
    assert "did you mean `gru`" in message
    assert "model.history_len: Input should be greater than" in message
    assert "received -1" in message
    assert "pydantic" not in message


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["anomalies", "train", "simulated_city", "--config"], "studyy: no such key"),
        (["federate", "simulated_city", "--clients", "0"], "n_clients: Input should be greater"),
        (["simulate", "--events", "-5", "--out"], "n_events: Input should be greater"),
    ],
)
def test_an_option_out_of_bounds_is_named(tmp_path: Path, words: list[str], part: str) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(ANOMALY_SETTINGS, encoding="utf-8")
    ends = {"--config": [settings], "--out": [tmp_path], "--root": [tmp_path]}
    message = shown_error(*words, *ends.get(words[-1], ["--root", tmp_path]))
    assert part in message
    assert "pydantic" not in message


def test_a_list_is_no_settings(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("- 3\n", encoding="utf-8")
    message = shown_error("train", "simulated_city", "--config", settings, "--dry-run")
    assert "settings.yaml must hold a mapping. Received: a list" in message
