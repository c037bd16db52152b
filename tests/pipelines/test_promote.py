"""Who cannot be judged fairly is not promoted, and the reason is told."""

from pathlib import Path

import numpy as np
import pytest

from chronotope.artifact.bundle import MODEL, read_manifest
from chronotope.pipelines import promote as module
from chronotope.pipelines.evaluate_holdout import pop_prefixed
from chronotope.pipelines.results import RegisteredVersion
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.model_versions import download_version
from chronotope.registry.promotion import current_champion, promotion_history
from chronotope.runtime.stored_arrays import save_arrays
from chronotope.runtime.workspace import Workspace
from chronotope.splitting.folds import Fold, Folds, FoldsConfig, save_folds
from tests.inference.hand_made import DAY, LAST_S, register_twice

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
    told = RegisteredVersion(name="city", version="2", run_id="r")
    done = module.promote_version(tmp_path, settings, tmp_path / "run", bundle, told)
    assert (done.promoted, done.previous) == (False, "1")
    assert "part of this holdout" in done.reasons[0]
    assert current_champion(open_store(Workspace(tmp_path).mlruns), "city") == "1"


def test_a_champion_of_another_lake_is_told_apart(tmp_path: Path) -> None:
    register_twice(tmp_path)
    settings = TrainSettings(root=tmp_path)
    manifest = read_manifest(tmp_path / "bundle")
    told = module._not_comparable("champion 1", manifest, settings)
    assert told == "champion 1 was trained on a part of this holdout; wait for later data"
    other = manifest.model_copy(update={"data_version": "events@3.1f3a9c20"})
    told = module._not_comparable("champion 1", other, settings)
    assert "version 3.1f3a9c20 of the events, which this lake does not hold" in told
    assert "`chronotope promote`" in told


def test_a_damaged_champion_bars_no_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_twice(tmp_path)
    run, store = tmp_path / "run", open_store(Workspace(tmp_path).mlruns)
    cut(run, TRAINED_UNTIL_S - DAY)
    values = {"challenger": np.ones(40), "popularity": np.zeros(40), "user": np.arange(40)}
    save_arrays(run / "holdout.npz", **values)
    model = download_version(store, "city", "1") / MODEL
    model.write_bytes(b"damaged")
    monkeypatch.setattr(module, "_blessing_reasons", lambda *_: ())
    told = RegisteredVersion(name="city", version="2", run_id="r")
    done = module.promote_version(
        tmp_path, TrainSettings(root=tmp_path), run, tmp_path / "bundle", told
    )
    assert (done.promoted, done.reasons, done.previous) == (True, (), "1")
    assert "the champion's files are damaged" in promotion_history(store, "city")[-1].reason


def test_a_version_of_another_registry_is_not_the_one_registered(tmp_path: Path) -> None:
    register_twice(tmp_path)
    settings, store = TrainSettings(root=tmp_path), open_store(Workspace(tmp_path).mlruns)
    run_id = str(store.client.get_model_version("city", "1").run_id)
    told = RegisteredVersion(name="city", version="1", run_id=run_id)
    assert module.is_registered(settings, told)
    assert not module.is_registered(settings, told.model_copy(update={"version": "7"}))
    assert not module.is_registered(
        settings, told.model_copy(update={"run_id": "of another store"})
    )


@pytest.mark.parametrize(("start", "seen"), [(0, True), (1, False), (DAY, False)])
def test_a_holdout_is_unseen_from_the_second_after_the_training(
    tmp_path: Path, start: int, seen: bool
) -> None:
    register_twice(tmp_path, champion=False)
    cut(tmp_path, TRAINED_UNTIL_S + start)
    manifest = read_manifest(tmp_path / "bundle")
    assert module.has_seen_targets(manifest, tmp_path) is seen


def test_arrays_of_a_prefix_are_taken_out_under_their_own_names() -> None:
    arrays = {"user": np.arange(2), "new_only.ease": np.ones(2), "slice.return": np.zeros(2)}
    assert list(pop_prefixed(arrays, "new_only.")) == ["ease"]
    assert list(arrays) == ["user", "slice.return"]
