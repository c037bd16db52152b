"""Privacy of a synthetic log: distance to the nearest real user, and membership attacks.

An attacker has the events of a person and the synthetic log, and says whether the person was
among those that the generator was fitted on. People of the fit are told from others only by how
near the nearest synthetic user is: in the items, in pairs of items in a row, or in items on the
same day. A logistic regression of all of them, cross-validated, is the strongest of the attacks.

Source: Hilprecht, Härterich and Bernau (2019), *Monte Carlo and reconstruction membership inference
attacks against generative models*; distance to the closest record, as in the literature on
synthetic data.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from chronotope.contracts.event_log import EventLog, Float64, Int64
from chronotope.synthesis.figures import Attack, Nearness

VIEWS: Final = ("items", "items in a row", "items on a day")
_DAY_S: Final = 86_400
_N_RESAMPLES: Final = 500
_N_FOLDS: Final = 5
_HASH_BITS: Final = 1 << 20
_SAME: Final = 1e-6


@dataclass(frozen=True, slots=True)
class PrivacyFigures:
    """Distances and attacks."""

    nearness: Nearness
    attacks: tuple[Attack, ...]


def privacy_figures(
    synthetic: EventLog, fitted: EventLog, held_out: EventLog, *, max_users: int, seed: int
) -> PrivacyFigures:
    """Distances to the nearest users, and the AUC of membership attacks.

    Args:
        synthetic: The generated log.
        fitted: Events of the users of the fit.
        held_out: Events of other users at the same time.
        max_users: Maximum number of users of each side.
        seed: Seed of the drawn users and of the bootstrap.
    """
    random_generator = np.random.default_rng(seed)
    n_users = min(max_users, len(np.unique(held_out.user_idx)), len(np.unique(fitted.user_idx)))
    members, others = (_some_users(log, n_users, random_generator) for log in (fitted, held_out))
    near_synthetic = [_nearest(real, synthetic) for real in (members, others)]  # (U, 3) each
    shown = _some_users(synthetic, max_users, random_generator)
    to_members, to_others = (_nearest(shown, real)[:, 2] for real in (members, others))
    is_nearer = np.where(to_members == to_others, 0.5, to_members < to_others)
    nearness = Nearness(
        to_fitted=float(np.median(to_members)),
        to_held_out=float(np.median(to_others)),
        share_nearer_to_fitted=float(is_nearer.mean()),
        n_copies=int(np.sum(_nearest(shown, fitted)[:, 2] < _SAME)),
    )
    return PrivacyFigures(
        nearness, _attacks(near_synthetic[0], near_synthetic[1], random_generator)
    )


def _attacks(members: Float64, others: Float64, rng: np.random.Generator) -> tuple[Attack, ...]:
    """Attack by each view, and by all of them together."""
    from sklearn.linear_model import LogisticRegression  # takes a second to import
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    distances = np.concatenate([members, others])
    is_member = np.arange(len(distances)) < len(members)
    attacks = [
        _attack(name, -distances[:, column], is_member, rng) for column, name in enumerate(VIEWS)
    ]
    folds = StratifiedKFold(_N_FOLDS, shuffle=True, random_state=0)
    probability = cross_val_predict(
        LogisticRegression(), distances, is_member, cv=folds, method="predict_proba"
    )
    return (*attacks, _attack("logistic regression of all", probability[:, 1], is_member, rng))


def _attack(
    name: str, scores: Float64, is_member: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Attack:
    """AUC of an attack and its interval."""
    members, others = scores[is_member], scores[~is_member]
    auc = _auc(members, others)
    resampled = [
        _auc(rng.choice(members, len(members)), rng.choice(others, len(others)))
        for _ in range(_N_RESAMPLES)
    ]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Attack(name=name, auc=auc, low=float(low), high=float(high))


def _auc(members: Float64, others: Float64) -> float:
    """Probability that a member's score is higher; ties count half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, side="left")
    not_above = np.searchsorted(ordered, members, side="right")
    return float((below + not_above).mean() / (2 * len(others)))


def _some_users(log: EventLog, n_users: int, rng: np.random.Generator) -> EventLog:
    """Events of some users, drawn without replacement."""
    user_list = np.unique(log.user_idx)
    chosen = (
        user_list if len(user_list) <= n_users else rng.choice(user_list, n_users, replace=False)
    )
    return log.take(np.isin(log.user_idx, chosen))


def _nearest(log: EventLog, reference: EventLog) -> Float64:
    """Cosine distance of each user to the nearest of a reference, by view, shape (U, 3)."""
    event_columns = []
    for event_keys, reference_keys in zip(_view_keys(log), _view_keys(reference), strict=True):
        likeness = _user_vectors(log, event_keys) @ _user_vectors(reference, reference_keys).T
        event_columns.append(1.0 - likeness.max(axis=1).toarray().ravel())
    return np.stack(event_columns, axis=1)


def _view_keys(log: EventLog) -> list[Int64]:
    """Hashed feature of each event in each view, shape (n_events,) each."""
    item_idx, day = log.item_idx.astype(np.int64), log.occurred_s // _DAY_S
    before = np.where(log.user_start() == np.arange(len(log)), 0, np.roll(item_idx, 1))
    return [item_idx, item_idx * 1_000_003 + before + 1, item_idx * 1_000_003 + 7 * day + 2]


def _user_vectors(log: EventLog, event_keys: Int64) -> sparse.csr_matrix:
    """Square roots of the counts of each user, normalised, shape (U, 2^20)."""
    _, table_rows = np.unique(log.user_idx, return_inverse=True)
    values = np.ones(len(event_keys))
    shape = (int(table_rows.max()) + 1, _HASH_BITS)
    matrix = sparse.csr_matrix((values, (table_rows, event_keys % _HASH_BITS)), shape=shape)
    matrix.sum_duplicates()
    matrix.data = np.sqrt(matrix.data)
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.diags_array(1.0 / lengths).tocsr() @ matrix
