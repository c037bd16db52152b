"""`chronotope pretrain`: checked before anything starts, and its result printed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.cli.pretraining.pretrain import copy_checkpoint, show_pretraining
from chronotope.pipelines.pretraining.results import (
    CheckpointFile,
    PretrainingEvaluation,
    PretrainingResult,
    PretrainingSearch,
    SourceEvaluation,
)
from chronotope.pipelines.results import RegisteredVersion

METRICS = {"acc_1": 0.1, "acc_10": 0.5, "ndcg_10": 0.3, "mrr": 0.25}


def result(path: Path) -> PretrainingResult:
    source = SourceEvaluation(dataset="shop", n_targets=9, metrics={"pretrained": METRICS})
    return PretrainingResult(
        sources=(),
        search=PretrainingSearch(params={"balance": 0.25}, mean_ndcg=0.3, trial_number=4),
        checkpoint=CheckpointFile(path=path, sha256="ab" * 32, n_bytes=1_234),
        evaluation=PretrainingEvaluation(sources=(source,)),
        registered=RegisteredVersion(name="kernels", version="3", run_id="run"),
    )


def test_metrics_and_the_address_are_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    show_pretraining(TerminalConsole(), result(tmp_path / "pretrained.safetensors"))
    printed = capsys.readouterr().out
    assert "shop" in printed
    assert "0.250" in printed
    assert "Searched: balance 0.25 (trial 4)" in printed
    assert "training.init: mlflow:/kernels/3" in printed


def test_the_checkpoint_is_copied_with_its_card(tmp_path: Path) -> None:
    (tmp_path / "pretrained.safetensors").write_bytes(b"parameters")
    (tmp_path / "card.md").write_text("# Card", encoding="utf-8")
    output = tmp_path / "out" / "mine.safetensors"
    copy_checkpoint(result(tmp_path / "pretrained.safetensors"), output)
    assert output.read_bytes() == b"parameters"
    assert output.with_suffix(".md").read_text(encoding="utf-8") == "# Card"


def test_a_dry_run_shows_the_settings_and_a_wrong_name_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("balance: 0.25\n", encoding="utf-8")
    options = ["--config", str(config), "--root", str(tmp_path), "--dry-run"]
    shown = CliRunner().invoke(app, ["pretrain", "--datasets", "simulated_city", *options])
    assert json.loads(shown.stdout)["balance"] == 0.25
    wrong = CliRunner().invoke(app, ["pretrain", "--datasets", "simulated_city,nowhere", *options])
    assert wrong.exit_code != 0
    config.write_text("balance: 2\n", encoding="utf-8")
    wrong = CliRunner().invoke(app, ["pretrain", "--datasets", "simulated_city", *options])
    assert wrong.exit_code != 0
    assert not (tmp_path / "data").exists()
