"""The search: never below the default, repeatable, resumable."""

import multiprocessing
import os
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import optuna
import pytest

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.contracts.protocols import Tracker
from chronotope.runtime.engine import Engine, LocalEngine
from chronotope.tuning.config import StudyConfig
from chronotope.tuning.study import BestTrial, ParameterSuggester, StudyStorage, run_study
from chronotope.tuning.trial_batch import Objective

DEFAULT = {"x": 0.0, "kind": "a"}


@dataclass
class Notebook:
    """Remembers which runs were opened in which, and what they were told."""

    name: str = ""
    opened: list[str] = field(default_factory=list)
    said: dict[str, dict[str, object]] = field(default_factory=dict)

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Remember."""
        said = {f"{name}@{step}": value for name, value in values.items()}
        self.said.setdefault(self.name, {}).update(said)

    def params(self, values: Mapping[str, object]) -> None:
        """Remember."""
        self.said.setdefault(self.name, {}).update(values)

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Forget."""

    @contextmanager
    def open(self, run_name: str, parent: Tracker | None) -> Iterator[Tracker]:
        """Open a run below another."""
        path = f"{parent.name}/{run_name}" if isinstance(parent, Notebook) else run_name
        self.opened.append(path)
        yield Notebook(path, self.opened, self.said)


def _space(suggest: ParameterSuggester) -> dict[str, object]:
    x = suggest.suggest_float("x", -10, 10)
    return {"x": x, "kind": suggest.suggest_categorical("kind", ["a", "b"]), "fixed": 7}


def hill(params: dict[str, object], fold: int, _: Tracker) -> float:
    """Highest at x = 3, where it is 0 on average over four folds."""
    return -((float(str(params["x"])) - 3) ** 2) + (fold - 1.5) / 100


def tuned(root: Path, objective: Objective = hill, **changes: object) -> BestTrial:
    notebook = changes.pop("notebook", Notebook())
    n_folds = changes.pop("n_folds", 4)
    engine = changes.pop("engine", LocalEngine())
    assert isinstance(notebook, Notebook)
    assert isinstance(n_folds, int)
    return run_study(
        _space,
        objective,
        n_folds=n_folds,
        default=DEFAULT,
        config=StudyConfig.model_validate({"n_trials": 12} | changes),
        storage=StudyStorage(f"sqlite:///{root}/optuna.db", "city"),
        tracker_factory=notebook.open,
        engine=cast("Engine", engine),
    )


def states(root: Path) -> list[str]:
    with sqlite3.connect(root / "optuna.db") as connection:
        rows = connection.execute("SELECT state FROM trials ORDER BY number").fetchall()
    connection.close()
    return [row[0] for row in rows]


def test_the_search_finds_better_than_the_default(tmp_path: Path) -> None:
    best = tuned(tmp_path)
    assert -9 < best.value <= 0
    assert best.value == pytest.approx(-((float(str(best.params["x"])) - 3) ** 2))
    assert best.params["fixed"] == 7


def test_the_default_is_tried_first(tmp_path: Path) -> None:
    best = tuned(tmp_path, n_trials=1)
    folds = pytest.approx((-9.015, -9.005, -8.995, -8.985))
    assert best == BestTrial({"x": 0.0, "kind": "a", "fixed": 7}, pytest.approx(-9.0), 0, folds)


def test_the_same_seed_finds_the_same(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    first, again = tuned(tmp_path / "a", seed=1), tuned(tmp_path / "b", seed=1)
    assert first == again
    assert tuned(tmp_path / "c", seed=2).params != first.params


def test_worse_trials_stop_before_the_last_fold(tmp_path: Path) -> None:
    calls: list[int] = []

    def count(params: dict[str, object], fold: int, tracker: Tracker) -> float:
        calls.append(fold)
        return hill(params, fold, tracker)

    tuned(tmp_path, count, n_folds=8)
    assert "PRUNED" in states(tmp_path)
    assert 12 * 4 < len(calls) < 12 * 8


def test_runs_nest_in_trials_in_the_study(tmp_path: Path) -> None:
    notebook = Notebook()
    tuned(tmp_path, n_trials=1, n_folds=2, notebook=notebook)
    trial = "city/trial 0"
    assert notebook.opened == ["city", trial, f"{trial}/fold 0", f"{trial}/fold 1"]


def test_trials_are_counted_over_resumes(tmp_path: Path) -> None:
    tuned(tmp_path, n_trials=3)
    first = states(tmp_path)
    tuned(tmp_path, n_trials=5)
    assert (len(first), len(states(tmp_path))) == (3, 5)
    assert tuned(tmp_path, n_trials=5).value >= -9
    assert len(states(tmp_path)) == 5


def test_the_time_budget_ends_the_search(tmp_path: Path) -> None:
    def slow(params: dict[str, object], fold: int, tracker: Tracker) -> float:
        time.sleep(0.1)
        return hill(params, fold, tracker)

    tuned(tmp_path, slow, n_trials=1000, timeout_s=0.5)
    assert 1 <= len(states(tmp_path)) < 10


def test_other_folds_are_refused(tmp_path: Path) -> None:
    tuned(tmp_path, n_trials=1)
    with pytest.raises(ConfigError, match="another number of folds"):
        tuned(tmp_path, n_trials=2, n_folds=5)


def test_an_objective_that_is_never_finite_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No trial"):
        tuned(tmp_path, lambda *_: float("nan"), n_trials=3)
    assert states(tmp_path) == ["PRUNED"] * 3


def _tune_until_killed(root: Path) -> None:
    tuned(root, _die_in_the_third_trial)


def _die_in_the_third_trial(params: dict[str, object], fold: int, tracker: Tracker) -> float:
    assert isinstance(tracker, Notebook)
    if "trial 2/fold 1" in tracker.name:
        os.kill(os.getpid(), signal.SIGKILL)
    return hill(params, fold, tracker)


def test_a_killed_study_is_resumed(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_tune_until_killed, args=(tmp_path,)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert states(tmp_path) == ["COMPLETE", "COMPLETE", "RUNNING"]
    found = tuned(tmp_path, n_trials=8)
    told = states(tmp_path)
    assert told[2] == "FAIL"
    assert "RUNNING" not in told
    assert sum(state in {"COMPLETE", "PRUNED"} for state in told) == 8
    (tmp_path / "whole").mkdir()
    assert found == tuned(tmp_path / "whole", n_trials=8)


def test_what_runs_when_all_trials_are_done_is_buried(tmp_path: Path) -> None:
    tuned(tmp_path, n_trials=2)
    url = f"sqlite:///{tmp_path}/optuna.db"
    optuna.load_study(study_name="city", storage=url).ask()
    tuned(tmp_path, n_trials=2)
    assert states(tmp_path) == ["COMPLETE", "COMPLETE", "FAIL"]


def drawn(root: Path) -> list[float]:
    study = optuna.load_study(study_name="city", storage=f"sqlite:///{root}/optuna.db")
    return [trial.params["x"] for trial in study.get_trials(deepcopy=False)]


class Killed(BaseException):
    """Nobody tells the study of it, as of a process that is gone."""


def ending(error: type[BaseException], *, default: bool = False) -> Objective:
    """Ends so with the default, or with all others."""

    def judge(params: dict[str, object], fold: int, tracker: Tracker) -> float:
        if (params["x"] == 0.0) == default:
            raise error
        return hill(params, fold, tracker)

    return judge


def again(root: Path, objective: Objective, error: type[BaseException], n: int) -> None:
    for _ in range(n):
        with pytest.raises(error):
            tuned(root, objective, n_trials=2, max_retries=1)
    tuned(root, n_trials=2, max_retries=1)


@pytest.mark.parametrize("kills", [1, 2, 3])
def test_parameters_that_kill_their_process_are_given_up(tmp_path: Path, kills: int) -> None:
    again(tmp_path, ending(Killed), Killed, kills)
    first, *died, last = drawn(tmp_path)
    assert (first, len(died)) == (0.0, kills)
    assert len(set(died[:2])) == 1
    assert (last == died[0]) == (kills == 1)


def test_stopped_by_hand_the_same_parameters_come_again(tmp_path: Path) -> None:
    again(tmp_path, ending(KeyboardInterrupt), KeyboardInterrupt, 4)
    assert len(set(drawn(tmp_path)[1:])) == 1


def test_the_default_is_tried_however_often_its_process_died(tmp_path: Path) -> None:
    again(tmp_path, ending(Killed, default=True), Killed, 4)
    assert drawn(tmp_path)[:5] == [0.0] * 5
    (tmp_path / "whole").mkdir()
    assert tuned(tmp_path, n_trials=2) == tuned(tmp_path / "whole", n_trials=2)


def test_parameters_that_raise_an_error_are_not_drawn_again(tmp_path: Path) -> None:
    def broken(params: dict[str, object], fold: int, tracker: Tracker) -> float:
        if params["x"] != 0.0:
            raise ValueError("No such model")
        return hill(params, fold, tracker)

    with pytest.raises(ValueError, match="No such"):
        tuned(tmp_path, broken, n_trials=2)
    tuned(tmp_path, n_trials=2)
    assert states(tmp_path) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert len(set(drawn(tmp_path))) == 3
