"""Membership attacks on private models, with the chance of a division of the users taken out.

Members and held-out users differ by chance: in 79 users of each kind an attack on a model that saw
neither half may have an AUC of .58. So each division is used twice, by two models with the halves
swapped, and the estimate is the mean of

    AUC(A: members over held-out users), AUC(B: held-out users over members)

which is exactly .5 if A and B give the same losses, whatever the users are. What is left is what
the models tell of their own users. The mean goes over several divisions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.rows import Row
from benchmarks.trust.membership import AttackTask, make_task
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.metrics.anomaly_detection import auroc
from chronotope.pipelines.trust.membership_audit import (
    LIKELIHOOD_RATIO,
    LOSS_THRESHOLD,
    fit_reference,
    target_losses,
)
from chronotope.training.private.config import PrivateTrainingConfig
from chronotope.training.private.private_counts import PrivacyBudget
from chronotope.training.private.private_recommender import PrivateRecommender

N_RESAMPLES: Final = 500

CONTROL: Final = "control: "
"""Prefix of attacks on a model that saw neither half."""

SAME_TRAINING: Final = "ratio to the same training without both halves"
"""Attack whose reference is a private model of the users that are not attacked."""


@dataclass(frozen=True, slots=True)
class SwappedScores:
    """Scores of one division by one attack, higher is likelier a member.

    Attributes:
        user_idx: Attacked users, shape (n,).
        is_member: Whether model A was trained on them, and not B, bool, shape (n,).
        scores_a: Scores by the model of the members, shape (n,).
        scores_b: Scores by the model of the held-out users, shape (n,); None for a control, which
            has one model that saw neither half.
    """

    user_idx: npt.NDArray[np.integer]
    is_member: npt.NDArray[np.bool_]
    scores_a: Float64
    scores_b: Float64 | None

    def auc(self, rows: npt.NDArray[np.integer]) -> float:
        """Mean AUC of the models on some rows, which may repeat."""
        is_member = self.is_member[rows]
        first = auroc(is_member, self.scores_a[rows])
        if self.scores_b is None:
            return first
        return 0.5 * (first + auroc(~is_member, self.scores_b[rows]))

    def resampled_rows(self, users: Int64, n_times: Int64) -> Int64:
        """Rows of a resample of all users.

        Args:
            users: The users, increasing, shape (n_users,).
            n_times: How often each was drawn, shape (n_users,).
        """
        n_rows = n_times[np.searchsorted(users, self.user_idx)]
        return np.repeat(np.arange(len(self.user_idx)), n_rows)


def swapped_auc(splits: Sequence[SwappedScores], *, seed: int = 0) -> tuple[float, float, float]:
    """Mean AUC over divisions with its 95 % interval, which resamples users.

    Args:
        splits: Divisions of the same users.
        seed: Seed of the resampling.
    """
    estimate = np.mean([split.auc(np.arange(len(split.user_idx))) for split in splits])
    users = np.unique(np.concatenate([split.user_idx for split in splits]))
    random_generator = np.random.default_rng(seed)
    resampled = []
    for _ in range(N_RESAMPLES):
        n_times = np.bincount(random_generator.integers(len(users), size=len(users)))
        n_times = np.append(n_times, np.zeros(len(users) - len(n_times), np.int64))
        resampled.append(
            np.mean([split.auc(split.resampled_rows(users, n_times)) for split in splits])
        )
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(estimate), float(low), float(high)


def private_attack_rows(
    name: str,
    log: EventLog,
    catalog: Catalog,
    end_s: int,
    seed: int,
    budgets: Sequence[PrivacyBudget],
    steps: PrivateTrainingConfig,
    *,
    n_divisions: int,
) -> list[Row]:
    """A row for each budget and attack, and for each attack on models that saw neither half.

    Args:
        name: Name of the data set.
        log: All events.
        catalog: Its catalogue.
        end_s: End of the training events, UTC seconds.
        seed: Seed of the first division; the others count up from it.
        budgets: Budgets of the models.
        steps: Noisy steps of the models.
        n_divisions: Divisions of the users.
    """
    tasks = [make_task(log, catalog, end_s, seed + division) for division in range(n_divisions)]
    references = [fit_reference(task.log, catalog, task.attacked) for task in tasks]
    reference_losses = [
        target_losses(reference, task.log, task.attacked.targets)
        for reference, task in zip(references, tasks, strict=True)
    ]
    rows: list[Row] = []
    for budget in budgets:
        splits: dict[str, list[SwappedScores]] = {}
        for number, (task, losses) in enumerate(zip(tasks, reference_losses, strict=True)):
            for attack, scores in _attack_scores(task, losses, budget, steps, number).items():
                splits.setdefault(attack, []).append(scores)
        rows += [_row(name, budget, attack, scores) for attack, scores in splits.items()]
    return rows


def _attack_scores(
    task: AttackTask,
    reference_losses: Float64,
    budget: PrivacyBudget,
    steps: PrivateTrainingConfig,
    noise_seed: int,
) -> dict[str, SwappedScores]:
    """Scores of one division by each attack; the controls are of a model without both halves."""
    attacked = task.attacked

    def losses_without(left_out: npt.NDArray[np.bool_], number: int) -> Float64:
        # noise of its own: equal noise would cancel, which no attacker can bring about
        seed = 3 * noise_seed + number
        model = PrivateRecommender(budget, private_training=steps, noise_seed=seed)
        model.fit(task.log.take(~left_out[task.log.user_idx]), task.catalog)
        return target_losses(model, task.log, attacked.targets)

    losses_a, losses_b, losses_of_neither = (
        losses_without(left_out, number)
        for number, left_out in enumerate(
            (
                attacked.is_held_out,
                attacked.is_member,
                attacked.is_held_out | attacked.is_member,
            )
        )
    )
    pairs = {
        LOSS_THRESHOLD: (losses_a, losses_b),
        LIKELIHOOD_RATIO: (losses_a - reference_losses, losses_b - reference_losses),
        SAME_TRAINING: (losses_a - losses_of_neither, losses_b - losses_of_neither),
        f"{CONTROL}{LOSS_THRESHOLD}": (losses_of_neither, None),
        f"{CONTROL}{LIKELIHOOD_RATIO}": (losses_of_neither - reference_losses, None),
    }
    return {attack: _user_scores(task, *pair) for attack, pair in pairs.items()}


def _user_scores(task: AttackTask, losses_a: Float64, losses_b: Float64 | None) -> SwappedScores:
    """Means over the events of each user, negative: a low loss says that one is a member."""
    user_idx = task.log.user_idx[task.attacked.targets]
    users, rows = np.unique(user_idx, return_inverse=True)

    def means(losses: Float64) -> Float64:
        return np.asarray(-np.bincount(rows, losses) / np.bincount(rows), np.float64)

    scores_b = None if losses_b is None else means(losses_b)
    return SwappedScores(users, task.attacked.is_member[users], means(losses_a), scores_b)


def _row(name: str, budget: PrivacyBudget, attack: str, splits: list[SwappedScores]) -> Row:
    value, low, high = swapped_auc(splits)
    kind = "control" if attack.startswith(CONTROL) else "dp"
    n_members = [int(split.is_member.sum()) for split in splits]
    return {
        "dataset": name,
        "measure": f"membership_auc_{kind}_eps_{budget.epsilon:g}",
        "value": round(value, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "note": f"{attack.removeprefix(CONTROL)}; {len(splits)} divisions of "
        f"{min(n_members)} users of each kind",
    }
