"""Choice among completed trials: the default unless another trial is ahead by more than noise."""

from collections.abc import Sequence
from statistics import fmean, stdev

from optuna.trial import FrozenTrial


def fold_values(trial: FrozenTrial) -> tuple[float, ...]:
    """The objective of a completed trial on each fold, earliest first."""
    return tuple(trial.intermediate_values[fold] for fold in sorted(trial.intermediate_values))


def choose_trial(
    completed_trials: Sequence[FrozenTrial],
    default_trial: FrozenTrial | None,
    min_gain_se: float,
) -> FrozenTrial:
    """The trial with the highest mean among those whose gain over the default is more than noise.

    Of many trials the one with the highest mean is often ahead by chance. A trial is eligible if
    the mean of its gains over the default, fold by fold, exceeds ``min_gain_se`` standard errors
    of that mean; the default wins if none is. This is the one-standard-error rule (Breiman et
    al., Classification and Regression Trees, 1984, 3.4.3) with paired folds. On one fold no
    standard error is known, so any gain counts.

    Args:
        completed_trials: Trials that were evaluated on every fold, at least one.
        default_trial: The one of them with the default parameters; None if there is none.
        min_gain_se: Number of standard errors; 0: any gain.

    Returns:
        The chosen trial; of equal ones the earliest.
    """
    eligible_trials = [
        trial
        for trial in completed_trials
        if default_trial is None
        or trial.number == default_trial.number
        or _is_ahead(fold_values(trial), fold_values(default_trial), min_gain_se)
    ]
    return max(eligible_trials, key=lambda trial: (trial.value or 0.0, -trial.number))


def _is_ahead(
    trial_values: Sequence[float], default_values: Sequence[float], min_gain_se: float
) -> bool:
    """Whether the mean gain exceeds its standard errors."""
    fold_gains = [
        trial_value - default_value
        for trial_value, default_value in zip(trial_values, default_values, strict=True)
    ]
    n_folds = len(fold_gains)
    standard_error = stdev(fold_gains) / n_folds**0.5 if n_folds > 1 else 0.0
    return fmean(fold_gains) > min_gain_se * standard_error
