"""The benchmark of trust on a small log: rows with intervals, replaced when measured again."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.trust import __main__ as trust
from benchmarks.trust import federated, membership, private
from benchmarks.trust.private_attacks import SwappedScores, swapped_auc
from chronotope.federated.config import FederationConfig
from chronotope.training.pretraining import PretrainingLog
from chronotope.training.private.config import PrivateTrainingConfig
from tests.pipelines.trust.test_membership_audit import city


@pytest.mark.slow
def test_each_measure_has_rows_and_runs_replace_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(*_: object) -> PretrainingLog:
        return PretrainingLog(*city())

    quick = {"rounds": 1, "discovery_rounds": 0, "aggregation": {"secure": False}}
    federations = {"federated_share": FederationConfig.model_validate(quick)}
    monkeypatch.setattr(trust, "read_task_log", small)
    monkeypatch.setattr(federated, "N_CLIENTS", 3)
    monkeypatch.setattr(federated, "FEDERATIONS", federations)
    monkeypatch.setattr(private, "TRAINING", PrivateTrainingConfig(steps=1, sample_rate=0.2))
    target = tmp_path / "rows.json"
    options = ["--data", str(tmp_path), "--datasets", "movielens_100k", "--json", str(target)]
    options += ["--work", str(tmp_path / "work"), "--divisions", "1"]
    for _ in range(2):
        trust.main(options)
    rows = json.loads(target.read_text(encoding="utf-8"))
    attacks = [row for row in rows if row["measure"] == "membership_auc"]
    assert len(attacks) == 7
    assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 for row in attacks)
    measures = {row["measure"] for row in rows}
    assert {"exposure_gap", "exposure_gap_ratio", "exposure_ndcg_lost"} <= measures
    assert {"federated_share", "dp_trained_share_eps_8"} <= measures
    assert {"membership_auc_dp_eps_8", "membership_auc_control_eps_8"} <= measures
    assert {f"dp_share_eps_{epsilon}" for epsilon in (1, 3, 8)} <= measures
    assert set(rows[0]) == {"dataset", "measure", "value", "low", "high", "note"}


def test_held_out_users_are_in_no_training() -> None:
    log, catalog = city()
    task = membership.make_task(log, catalog, int(log.occurred_s.max()), seed=0)
    held_out = task.attacked.is_held_out
    assert held_out.sum() == 18
    assert not held_out[task.trained_log().user_idx].any()


def test_swapped_halves_cancel_the_chance_of_a_division_and_keep_what_models_tell() -> None:
    rng = np.random.default_rng(0)
    users, is_member = np.arange(200), np.arange(200) < 100
    ease = rng.normal(size=200) + 2.0 * is_member  # members are easier, whoever is asked
    assert swapped_auc([SwappedScores(users, is_member, ease, None)])[0] > 0.85
    assert swapped_auc([SwappedScores(users, is_member, ease, ease)]) == (0.5, 0.5, 0.5)
    gain = 4.0
    telling = SwappedScores(users, is_member, ease + gain * is_member, ease + gain * ~is_member)
    value, low, high = swapped_auc([telling, telling])
    assert 0.9 < low <= value <= high <= 1.0
