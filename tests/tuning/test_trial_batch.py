"""Batches of trials: the same study wherever and in whatever order the folds are judged."""

from pathlib import Path

import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.protocols import Tracker
from chronotope.runtime.engine import Engine, LocalEngine
from chronotope.tuning.study import BestTrial
from chronotope.tuning.trial_batch import Objective
from tests.runtime.engine.elsewhere import Elsewhere
from tests.tuning.test_study import Notebook, hill, states, tuned


def noting(params: dict[str, object], fold: int, tracker: Tracker) -> float:
    tracker.params({"fold": fold})
    tracker.metrics({"loss": 0.5}, step=3)
    return hill(params, fold, tracker)


def cliff(params: dict[str, object], fold: int, tracker: Tracker) -> float:
    """Diverges on the second fold of half of the trials."""
    wild = float(str(params["x"])) < 0 and fold == 1
    return float("nan") if wild else hill(params, fold, tracker)


def both(root: Path, objective: Objective = hill, **changes: object) -> tuple[BestTrial, BestTrial]:
    """What the same study finds here and elsewhere."""
    engines: dict[str, Engine] = {"here": LocalEngine(), "there": Elsewhere()}
    found = []
    for name, engine in engines.items():
        (root / name).mkdir()
        found.append(tuned(root / name, objective, **changes | {"engine": engine}))
    return found[0], found[1]


@pytest.mark.parametrize(("batch", "n_folds"), [(1, 6), (3, 6), (6, 3)])
def test_the_engine_changes_nothing(tmp_path: Path, batch: int, n_folds: int) -> None:
    here, there = both(tmp_path, n_trials=6, batch=batch, n_folds=n_folds)
    assert here == there
    told = states(tmp_path / "here")
    assert told == states(tmp_path / "there")
    assert ("PRUNED" in told) == (batch < 6)  # the first batch has nothing to compare with


def test_a_trial_that_diverges_is_cut_at_the_same_fold(tmp_path: Path) -> None:
    here, there = both(tmp_path, cliff, n_trials=4, batch=4, seed=2)
    assert here == there
    told = states(tmp_path / "there")
    assert told == states(tmp_path / "here")
    assert {"PRUNED", "COMPLETE"} <= set(told)


def test_folds_that_every_trial_needs_are_handed_in_together(tmp_path: Path) -> None:
    engine = Elsewhere()
    tuned(tmp_path, n_trials=4, batch=4, n_folds=6, engine=engine)
    assert engine.waves[0] == 4 * 4  # four folds, and no fewer could stop a trial at p = 0.1
    assert len(engine.waves) == 3
    assert max(engine.waves[1:]) <= 4


def test_a_batch_does_not_outgrow_the_budget(tmp_path: Path) -> None:
    tuned(tmp_path, n_trials=5, batch=3)
    assert len(states(tmp_path)) == 5


def test_what_is_noted_elsewhere_is_reported_here(tmp_path: Path) -> None:
    notebook = Notebook()
    tuned(tmp_path, noting, n_trials=1, n_folds=2, engine=Elsewhere(), notebook=notebook)
    assert notebook.said["city/trial 0/fold 1"] == {"fold": 1, "loss@3": 0.5, "value@0": -9.005}


def test_the_other_trials_of_a_batch_fail_with_the_one_that_raised(tmp_path: Path) -> None:
    def refuse(params: dict[str, object], fold: int, tracker: Tracker) -> float:
        raise ConfigError("No")

    with pytest.raises(ConfigError, match="No"):
        tuned(tmp_path, refuse, batch=3)
    assert states(tmp_path) == ["FAIL"] * 3


def test_a_file_cannot_be_kept_from_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot store files"):
        tuned(tmp_path, keeping, n_trials=1, engine=Elsewhere())


def keeping(params: dict[str, object], fold: int, tracker: Tracker) -> float:
    tracker.artifact(Path("model.pt"))
    return 0.0
