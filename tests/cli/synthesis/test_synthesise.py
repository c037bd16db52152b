"""`chronotope synthesise`: settings checked, figures and paths printed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.cli.synthesis.synthesise import show_synthesis
from chronotope.synthesis.figures import Attack, Nearness, SynthesisFigures, Utility
from flows.synthesis.synthesise_log import SynthesisResult


def test_a_dry_run_shows_the_settings(tmp_path: Path) -> None:
    options = ["--users", "7", "--generator", "gan", "--root", str(tmp_path), "--dry-run"]
    shown = CliRunner().invoke(app, ["synthesise", "simulated_city", *options])
    settings = json.loads(shown.stdout)
    assert (settings["n_users"], settings["generator"]) == (7, "gan")
    assert not list(tmp_path.iterdir())


def test_utility_and_the_strongest_attack_are_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    utility = {"acc_1": 0.1, "ndcg_10": 0.2, "mrr": 0.15}
    attacks = [Attack(name=f"a{auc}", auc=auc, low=0.4, high=0.7) for auc in (0.51, 0.53)]
    near = {"to_fitted": 0.9, "to_held_out": 0.9, "share_nearer_to_fitted": 0.5, "n_copies": 0}
    figures = SynthesisFigures(
        dataset="town", generator="gan", seed=0, n_users=7, n_events=70, n_fitted_users=9,
        n_fitted_events=90, n_test_targets=5, utility_ratio=0.87, distances=(),
        utilities=(Utility(trained_on="real", **utility),),
        nearness=Nearness(**near), attacks=tuple(attacks),
    )  # fmt: skip
    result = SynthesisResult(folder=tmp_path, dataset=tmp_path / "town.yaml", figures=figures)
    show_synthesis(TerminalConsole(), result)
    printed = capsys.readouterr().out
    assert "87%" in printed
    assert "AUC 0.530" in printed
