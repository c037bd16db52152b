"""Membership attacks on a model trained on some of the users."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.rows import Row
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.protocols import Recommender
from chronotope.models.config import ModelConfig
from chronotope.pipelines.trust.config import AuditConfig
from chronotope.pipelines.trust.membership_audit import (
    LIKELIHOOD_RATIO,
    REPLACED_COUNTS,
    AttackedUsers,
    audit_model,
    choose_attacked,
    fit_reference,
    replace_counts,
)
from chronotope.training.config import SHIPPED, TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

HELD_OUT_SHARE: Final = 0.3
"""Share of the users that is held out: more than an audit of a candidate, for narrow intervals."""


@dataclass(frozen=True, slots=True)
class AttackTask:
    """A log cut in time, and the users that are attacked.

    Attributes:
        log: Events before the end of the training.
        catalog: Its catalogue.
        attacked: Held-out users, members and events.
    """

    log: EventLog
    catalog: Catalog
    attacked: AttackedUsers

    def trained_log(self) -> EventLog:
        """Events of all users but the held-out ones."""
        return self.log.take(~self.attacked.is_held_out[self.log.user_idx])


def make_task(log: EventLog, catalog: Catalog, end_s: int, seed: int) -> AttackTask:
    """Hold out users by a seed, and draw members and events.

    Args:
        log: All events.
        catalog: Its catalogue.
        end_s: End of the training events, UTC seconds.
        seed: Seed of all draws.
    """
    past = log.before(end_s)
    users = np.unique(past.user_idx[past.user_idx > 0])
    n_held_out = round(HELD_OUT_SHARE * len(users))
    is_held_out = np.zeros(catalog.users.size, np.bool_)
    is_held_out[np.random.default_rng(seed).permutation(users)[:n_held_out]] = True
    attacked = choose_attacked(past, is_held_out, AuditConfig(seed=seed))
    if attacked is None:
        raise ValueError("The log has too few users to attack")
    return AttackTask(past, catalog, attacked)


def attacked_models(
    task: AttackTask, seed: int
) -> Iterator[tuple[str, ChronotopeRecommender, dict[str, Recommender]]]:
    """What a model holds of the members, the model, and the references of the attacks.

    Args:
        task: Log and users.
        seed: Seed of the training.
    """
    trained_log = task.trained_log()
    model = ChronotopeRecommender(ModelConfig(content=False), TrainingConfig(seed=seed))
    model.fit(trained_log, task.catalog)
    references: dict[str, Recommender] = {
        LIKELIHOOD_RATIO: fit_reference(task.log, task.catalog, task.attacked)
    }
    replaced = replace_counts(model, task.log, task.attacked)
    yield "parameters and counts", model, {**references, REPLACED_COUNTS: replaced}
    yield "parameters alone: counts of other users", replaced, references
    counted = ChronotopeRecommender(
        ModelConfig(content=False), TrainingConfig(init=SHIPPED, transfer_epochs=0, seed=seed)
    )
    yield "counts alone: shipped parameters", counted.fit(trained_log, task.catalog), references


def membership_rows(name: str, task: AttackTask, seed: int) -> list[Row]:
    """A row for each model and attack.

    Args:
        name: Name of the data set.
        task: Log and users.
        seed: Seed of the training.
    """
    rows: list[Row] = []
    for held, model, references in attacked_models(task, seed):
        audit = audit_model(model, references, task.log, task.attacked)
        rows += [
            {
                "dataset": name,
                "measure": "membership_auc",
                "value": round(attack.auc, 4),
                "low": round(attack.low, 4),
                "high": round(attack.high, 4),
                "note": f"{attack.name}; {held}; {audit.n_held_out} users of each kind",
            }
            for attack in audit.attacks
        ]
    return rows
