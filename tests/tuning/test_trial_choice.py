"""Choice of the trial: another replaces the default only if it is ahead by more than noise."""

from pathlib import Path

import numpy as np
import pytest
from optuna.trial import FrozenTrial, create_trial

from chronotope.contracts.protocols import Tracker
from chronotope.tuning.trial_choice import choose_trial
from tests.tuning.test_study import hill, tuned


def _trial(number: int, *values: float) -> FrozenTrial:
    trial = create_trial(value=float(np.mean(values)), intermediate_values=dict(enumerate(values)))
    trial.number = number
    return trial


DEFAULT = _trial(0, 0.30, 0.40, 0.50)


@pytest.mark.parametrize(
    ("values", "min_gain_se", "chosen"),
    [
        pytest.param((0.31, 0.41, 0.51), 1.0, 1, id="ahead on every fold"),
        pytest.param((0.40, 0.39, 0.49), 1.0, 0, id="ahead on one fold only"),
        pytest.param((0.40, 0.39, 0.49), 0.0, 1, id="any gain"),
        pytest.param((0.40, 0.39, 0.49), 0.5, 1, id="half a standard error"),
        pytest.param((0.29, 0.39, 0.49), 0.0, 0, id="behind"),
        pytest.param((0.30, 0.40, 0.50), 0.0, 0, id="equal"),
    ],
)
def test_gain_beyond_noise(values: tuple[float, ...], min_gain_se: float, chosen: int) -> None:
    trials = [DEFAULT, _trial(1, *values)]
    assert choose_trial(trials, DEFAULT, min_gain_se).number == chosen


def test_the_best_of_the_trials_that_are_ahead() -> None:
    noisy, ahead, further = (
        _trial(1, 0.90, 0.39, 0.49),
        _trial(2, 0.31, 0.42, 0.51),
        _trial(3, 0.32, 0.42, 0.53),
    )
    assert choose_trial([DEFAULT, noisy, ahead, further], DEFAULT, 1.0).number == 3


def test_without_a_completed_default_the_highest_mean_wins() -> None:
    assert choose_trial([_trial(4, 0.2, 0.3), _trial(5, 0.1, 0.9)], None, 1.0).number == 5


def test_one_fold_says_nothing_about_noise() -> None:
    default = _trial(0, 0.3)
    assert choose_trial([default, _trial(1, 0.31)], default, 1.0).number == 1


def test_a_lucky_fold_does_not_replace_the_settings(tmp_path: Path) -> None:
    def luck(params: dict[str, object], fold: int, tracker: Tracker) -> float:
        x = float(str(params["x"]))
        return hill({"x": 0.0}, fold, tracker) + (abs(x) if fold == 2 else -abs(x) / 10)

    assert tuned(tmp_path, luck, prune_p=0.0).params["x"] == 0.0
    (tmp_path / "any").mkdir()
    assert tuned(tmp_path / "any", luck, prune_p=0.0, min_gain_se=0.0).params["x"] != 0.0
