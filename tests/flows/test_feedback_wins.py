"""What users did since makes a better model, and it takes the champion's place by itself.

The town has hours: people go home at night and to work by day. A model that has seen enough
of that beats whoever only counts, and the champion, who has seen less.
"""

from pathlib import Path

import pytest

from chronotope.registry.manual_promotion import promote_by_hand
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import current_champion, promotion_history
from tests.flows.feedback_town import Town

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect")]

LEARNS = {
    "model": {"history_len": 64},
    "training": {"max_epochs": 2, "n_rounds": 2, "batch_size": 64},
    "gate": {"max_slice_drop": 0.1},  # slices of a few hundred targets are noisy
    "max_holdout_targets": 1_200,
}


def test_a_better_challenger_takes_the_place(tmp_path: Path) -> None:
    town = Town(tmp_path / "town").settle(
        n_events=6_000, share=0.15, anomalies=0.0, cold_users=0.0, cold_items=0.0
    )
    first = town.train(**LEARNS).promotion
    if not first.promoted:
        promote_by_hand(town.root, "town", first.version, "the test needs one")
    town.log(town.later())
    found = town.collect(mode="full", rate_limit_rows=1_000)
    assert (found.intake.n_new, found.intake.n_quarantined) == (len(town.later()), 0)
    assert found.decision.action == "retrain"
    promoted = found.promotion
    assert promoted is not None
    assert promoted.promoted, promoted.reasons
    assert (promoted.version, promoted.previous, promoted.reasons) == ("2", "1", ())
    store = open_store(town.workspace.mlruns)
    assert current_champion(store, "town") == "2"
    assert str(store.client.get_model_version_by_alias("town", "champion").version) == "2"
    entry = promotion_history(store, "town")[-1]
    assert (entry.version, entry.state) == ("2", "committed")
    assert entry.reason == "beats every baseline and the champion; the artefact is blessed"
    again = town.collect(mode="full")
    assert (again.decision.action, again.promotion) == ("nothing", None)
