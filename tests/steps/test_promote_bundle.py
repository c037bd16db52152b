"""Who cannot be judged fairly is not promoted, and the reason is told."""

from pathlib import Path

import pytest

from chronotope.artifact.bundle import read_manifest
from chronotope.contracts.workspace import Workspace
from chronotope.registry.promotion import current_champion
from chronotope.registry.store import open_store
from chronotope.splitting.folds import Fold, Folds, FoldsConfig, save_folds
from chronotope.steps import promote_bundle as module
from chronotope.steps.settings import TrainSettings
from tests.steps.hand_made import DAY, LAST_S, register_twice

TRAINED_UNTIL_S = LAST_S - 30 * DAY


def cut(run: Path, start: int) -> None:
    """A holdout of ten days."""
    fold = Fold(train_end_s=start, test_start_s=start, test_end_s=start + 10 * DAY)
    save_folds(Folds(folds=(), holdout=fold, config=FoldsConfig()), run / "frozen_folds.json")


def test_a_champion_that_knows_the_holdout_is_no_rival(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_twice(tmp_path)
    cut(tmp_path / "run", TRAINED_UNTIL_S - DAY)
    monkeypatch.setattr(module, "_blessing_reasons", lambda *_: ())
    bundle, settings = tmp_path / "bundle", TrainSettings(root=tmp_path)
    told = {"name": "city", "version": "2", "run_id": "r"}
    done = module.promote_bundle(tmp_path, settings, tmp_path / "run", bundle, told)
    assert (done["promoted"], done["previous"]) == (False, "1")
    assert "part of this holdout" in done["reasons"][0]
    assert current_champion(open_store(Workspace(tmp_path).mlruns), "city") == "1"


@pytest.mark.parametrize(("start", "seen"), [(0, True), (1, False), (DAY, False)])
def test_a_holdout_is_unseen_from_the_second_after_the_training(
    tmp_path: Path, start: int, seen: bool
) -> None:
    register_twice(tmp_path, champion=False)
    cut(tmp_path, TRAINED_UNTIL_S + start)
    manifest = read_manifest(tmp_path / "bundle")
    assert module.has_seen_targets(manifest, tmp_path) is seen
