"""Membership audit: can one tell from a model's answers who was in its training?

The attacker has the model, as its bundle is served, and events of a person at times before the end
of the training. Attacks on users held out of the training, and on as many members:

* ``loss threshold``: a low mean loss of the person's events says "member";
* ``likelihood ratio``: the loss minus that of a reference that saw neither the attacked members
  nor the held-out users: the shipped network, not trained, with the counts of the other users.
  What is easy to predict for everybody says nothing then;
* ``replaced counts``: the same with another reference, the attacked network's own parameters with
  the counts of the other users, which shows what the counts alone tell.

No shadow model is trained. A history is input of the model and no part of it.

Sources: Yeom et al. (2018), *Privacy risk in machine learning*; Carlini et al. (2022), *Membership
inference attacks from first principles*, whose offline attack the last two simplify.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.artifact.open_bundle import open_bundle
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import queries_at
from chronotope.metrics import TargetSpans
from chronotope.metrics.membership import attack_auc
from chronotope.models.config import ModelConfig
from chronotope.pipelines.trust.config import AuditConfig
from chronotope.pipelines.trust.held_out_users import held_out_users
from chronotope.pipelines.trust.results import MembershipAttack, MembershipAudit
from chronotope.training.config import SHIPPED, TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

MIN_ATTACKED: Final = 10
"""Fewer held-out users give no audit."""

LOSS_THRESHOLD: Final = "loss threshold"
LIKELIHOOD_RATIO: Final = "likelihood ratio"
REPLACED_COUNTS: Final = "replaced counts"

_BATCH_SIZE: Final = 128


@dataclass(frozen=True, slots=True)
class AttackedUsers:
    """Users that are attacked, and their events.

    Attributes:
        is_held_out: Users that no training used, bool, shape (n_users,).
        is_member: Attacked users of the training, bool, shape (n_users,).
        targets: Positions of the events in the log, shape (n_targets,).
    """

    is_held_out: npt.NDArray[np.bool_]
    is_member: npt.NDArray[np.bool_]
    targets: Int64


def audit_bundle(
    bundle: Path,
    model_path: Path,
    log: EventLog,
    catalog: Catalog,
    train_end_s: int,
    audit: AuditConfig,
) -> MembershipAudit | None:
    """Audit a bundle; None without held-out users, or with fewer than ``MIN_ATTACKED``.

    Args:
        bundle: Folder of the compressed model.
        model_path: File of its trained network; without it, counts are not replaced.
        log: All events.
        catalog: Its catalogue.
        train_end_s: End of the training events, UTC seconds.
        audit: Users and events to attack.
    """
    if audit.held_out_share == 0.0:
        return None
    visible_log = log.before(train_end_s)
    attacked = choose_attacked(visible_log, held_out_users(catalog, audit), audit)
    if attacked is None:
        return None
    references = {LIKELIHOOD_RATIO: fit_reference(visible_log, catalog, attacked)}
    if model_path.is_file():
        network = ChronotopeRecommender.load(model_path, catalog)
        references[REPLACED_COUNTS] = replace_counts(network, visible_log, attacked)
    return audit_model(open_bundle(bundle), references, visible_log, attacked)


def choose_attacked(
    log: EventLog, is_held_out: npt.NDArray[np.bool_], audit: AuditConfig
) -> AttackedUsers | None:
    """Draw held-out users, as many members, and events of both; None if there are too few.

    Args:
        log: Events before the end of the training.
        is_held_out: Users that no training used, bool, shape (n_users,).
        audit: Numbers and seed.
    """
    random_generator = np.random.default_rng(audit.seed)
    has_past = np.flatnonzero(log.basket_start() > log.user_start())
    user_idx = np.unique(log.user_idx[has_past])
    user_idx = user_idx[user_idx > 0]
    others, members = user_idx[is_held_out[user_idx]], user_idx[~is_held_out[user_idx]]
    n_attacked = min(len(others), len(members) // 2, audit.max_users)
    if n_attacked < MIN_ATTACKED:
        return None
    is_drawn, is_member = np.zeros_like(is_held_out), np.zeros_like(is_held_out)
    is_drawn[random_generator.choice(others, n_attacked, replace=False)] = True
    is_member[random_generator.choice(members, n_attacked, replace=False)] = True
    is_drawn |= is_member
    targets = random_generator.permutation(has_past[is_drawn[log.user_idx[has_past]]])
    targets = targets[np.argsort(log.user_idx[targets], kind="stable")]
    first_of_user = np.searchsorted(log.user_idx[targets], log.user_idx[targets])
    is_kept = np.arange(len(targets)) - first_of_user < audit.targets_per_user
    return AttackedUsers(is_held_out, is_member, np.sort(targets[is_kept]))


def fit_reference(
    log: EventLog, catalog: Catalog, attacked: AttackedUsers
) -> ChronotopeRecommender:
    """The shipped network with the counts of the users that are not attacked.

    Args:
        log: Events before the end of the training.
        catalog: Its catalogue.
        attacked: Users whose events it must not see.
    """
    zero_shot = TrainingConfig(init=SHIPPED, transfer_epochs=0)
    model = ChronotopeRecommender(ModelConfig(content=False), zero_shot)
    return model.fit(_other_log(log, attacked), catalog)


def replace_counts(
    model: ChronotopeRecommender, log: EventLog, attacked: AttackedUsers
) -> ChronotopeRecommender:
    """The same parameters with the counts of the users that are not attacked; a copy.

    Args:
        model: The model to audit.
        log: Events before the end of the training.
        attacked: Users whose events are not counted.
    """
    replaced = copy(model)
    replaced.observe(_other_log(log, attacked))
    return replaced


def _other_log(log: EventLog, attacked: AttackedUsers) -> EventLog:
    is_attacked = attacked.is_held_out | attacked.is_member
    return log.take(~is_attacked[log.user_idx])


def audit_model(
    model: Recommender,
    references: Mapping[str, Recommender],
    log: EventLog,
    attacked: AttackedUsers,
) -> MembershipAudit:
    """Attack a model.

    Args:
        model: The model to audit.
        references: Models that saw none of the attacked users, by the name of the attack.
        log: Events before the end of the training.
        attacked: Users and events.
    """
    losses = target_losses(model, log, attacked.targets)
    values_by_attack = {LOSS_THRESHOLD: losses} | {
        name: losses - target_losses(reference, log, attacked.targets)
        for name, reference in references.items()
    }
    user_idx = log.user_idx[attacked.targets]
    attacks = tuple(
        _attack(name, values, user_idx, attacked) for name, values in values_by_attack.items()
    )
    n_attacked = int(attacked.is_member.sum())
    return MembershipAudit(attacks=attacks, n_members=n_attacked, n_held_out=n_attacked)


def target_losses(model: Recommender, log: EventLog, targets: Int64) -> Float64:
    """Cross-entropy of the true item of each target, nats, shape (n_targets,).

    Args:
        model: A fitted model; the time of the request is given.
        log: The events.
        targets: Positions in the log, shape (n_targets,).
    """
    spans = TargetSpans.of(log, targets)
    losses = np.empty(len(targets))
    order = np.argsort(spans.n_history, kind="stable")
    for start in range(0, len(order), _BATCH_SIZE):
        rows = order[start : start + _BATCH_SIZE]
        query_batch = queries_at(
            log,
            targets[rows],
            history_len=model.history_len,
            time_given=True,
            target_starts=(spans.user_start[rows], spans.basket_start[rows]),
        )
        item_scores = model.scores(query_batch)[:, 1:].astype(np.float64)  # (B, n_items - 1)
        item_scores -= item_scores.max(axis=1, keepdims=True)
        log_total = np.log(np.exp(item_scores).sum(axis=1))
        true_scores = item_scores[np.arange(len(rows)), log.item_idx[targets[rows]] - 1]
        losses[rows] = log_total - true_scores
    return losses


def _attack(
    name: str,
    losses: Float64,
    user_idx: npt.NDArray[np.integer],
    attacked: AttackedUsers,
) -> MembershipAttack:
    """Attack by the mean of a user's values; low values say that the user is a member."""
    users, rows = np.unique(user_idx, return_inverse=True)
    user_means = np.bincount(rows, losses) / np.bincount(rows)
    is_member = attacked.is_member[users]
    auc = attack_auc(-user_means[is_member], -user_means[~is_member])
    return MembershipAttack(name=name, auc=auc.estimate, low=auc.low, high=auc.high)
