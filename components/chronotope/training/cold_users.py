"""Fit of the user head on users of whom little is known, judged on further users.

The network is frozen. The users are divided: the first group is counted, for priors and tables, so
that the others are as new as users of tomorrow; the second fits the weights, the third decides what
is used. Each user of the second and third is queried with none of the events, with the first one,
and so on. The weights without an event and those with few are judged apart, and the attributes
once more: what does not rank the third group's next items better gets the weight 0. At the end
the tables are counted from all users.
"""

import logging
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import UNKNOWN
from chronotope.models.batch import Batch, to_batch
from chronotope.models.cold_users.user_head import FADES, FEATURES, UserHead
from chronotope.models.cold_users.user_tables import count_user_tables
from chronotope.models.discovery_counts import activity_counter
from chronotope.models.item_tables import CandidateView
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors, count_priors
from chronotope.splitting.new_users import NewUserQueries, new_user_queries
from chronotope.training.config import TrainingConfig
from chronotope.training.negative_sampling import sample_candidates

_LOG = logging.getLogger(__name__)

GROUP_SHARES: Final = (0.6, 0.25, 0.15)
"""Shares of the users that are counted, that fit the weights, and that judge them."""

N_EVENTS: Final = (0, 1, 2, 3, 5, 8, 12)
"""Events of the histories."""

MIN_USERS: Final = 200
"""Fewer users do not determine the weights: the head stays without effect."""

BATCH_SIZE: Final = 64
"""Queries that share their live counts."""

N_POPULAR: Final = 3_000
"""Popular items among the candidates of a large catalogue."""

N_LISTED: Final = 10
MAX_ITERATIONS: Final = 25
RIDGE: Final = 1e-3
INITIAL_FADE: Final = 2.0
"""Number of events that halves the weights at first."""


@dataclass(frozen=True, slots=True)
class UserHeadFit:
    """Quality on the users that judge, by fade.

    Attributes:
        before: Without the head.
        after: With the fitted head, whether it is used or not.
    """

    before: tuple["UserQuality", ...]
    after: tuple["UserQuality", ...]

    @property
    def helps(self) -> tuple[bool, ...]:
        """Whether each fade is better for users that it was not fitted on."""
        quality_pairs = zip(self.before, self.after, strict=True)
        return tuple(after.is_better_than(before) for before, after in quality_pairs)


@dataclass(frozen=True, slots=True)
class UserQuality:
    """Quality for users of whom no event, or few, are known.

    Attributes:
        loss: Cross-entropy of the next items, nats.
        ndcg_10: Of the next items among the candidates.
    """

    loss: float
    ndcg_10: float

    def is_better_than(self, other: "UserQuality") -> bool:
        """Whether the loss is lower and the top of the lists no worse."""
        return self.loss < other.loss and self.ndcg_10 >= other.ndcg_10


@dataclass(frozen=True, slots=True)
class _ScoredBatch:
    """Queries, and their scores without the head.

    Attributes:
        batch: The queries.
        view: The candidates, with the live counts of the batch.
        candidate_idx: Indices of the candidates, int64, shape (C,).
        base_scores: Logits, shape (B, C).
        log_weight: Log of the number of items that each candidate stands for, shape (C,).
        row: Query of each target, int64, shape (T,).
        target_column: Candidate of each target, int64, shape (T,).
        target_weight: 1 / targets of the query, shape (T,).
        is_few: Whether there are events, float, shape (B,).
    """

    batch: Batch
    view: CandidateView
    candidate_idx: Tensor
    base_scores: Tensor
    log_weight: Tensor
    row: Tensor
    target_column: Tensor
    target_weight: Tensor
    is_few: Tensor


def fit_user_head(
    net: ChronotopeNet, log: EventLog, catalog: Catalog, config: TrainingConfig
) -> UserHeadFit | None:
    """Fit the user head in place; None where there are too few users.

    Args:
        net: The trained network; nothing but the head is changed.
        log: The training log.
        catalog: Its catalogue, with the attributes of the users.
        config: Number of queries, sampled candidates and seed.
    """
    user_head = net.user_head
    if user_head is None or config.new_user_queries == 0:
        return None
    user_head.reset()
    user_idx = np.unique(log.user_idx[log.user_idx > 0])
    if len(user_idx) < MIN_USERS:
        return None
    net.eval()
    random_generator = np.random.default_rng(config.seed)
    group_of = np.full(catalog.users.size, -1)
    group_bounds = (np.cumsum(GROUP_SHARES[:-1]) * len(user_idx)).astype(np.int64)
    for group_idx, member_idx in enumerate(
        np.split(random_generator.permutation(user_idx), group_bounds)
    ):
        group_of[member_idx] = group_idx
    counted_log = log.take(group_of[log.user_idx] == 0)
    count_user_tables(counted_log, catalog).write_to(user_head)
    base_scorer = _BaseScorer(net, counted_log, catalog, config)
    fitted, judged_batches = (
        base_scorer.scored_batches(
            log, _sample_members(group_of == group_idx, config, group_share, random_generator)
        )
        for group_idx, group_share in ((1, GROUP_SHARES[1]), (2, GROUP_SHARES[2]))
    )
    before = _fade_quality(user_head, judged_batches)
    _fit_weights(user_head, fitted)
    fit = UserHeadFit(before, _fade_quality(user_head, judged_batches))
    _drop_worthless(user_head, judged_batches, fit)
    _LOG.info("User head: %s", fit)
    user_head.active = any(fit.helps)
    count_user_tables(log, catalog).write_to(user_head)
    return fit


def _sample_members(
    is_member: npt.NDArray[np.bool_],
    config: TrainingConfig,
    group_share: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Members that are queried, so that the number of queries is bounded, shape (n_users,)."""
    member_idx = np.flatnonzero(is_member)
    share_of_queries = group_share / (GROUP_SHARES[1] + GROUP_SHARES[2])
    n_users = max(1, int(config.new_user_queries * share_of_queries) // len(N_EVENTS))
    chosen_idx = rng.choice(member_idx, min(n_users, len(member_idx)), replace=False)
    is_chosen = np.zeros(len(is_member), np.bool_)
    is_chosen[chosen_idx] = True
    return is_chosen


class _BaseScorer:
    """Scores of the frozen network for queries of users that its priors do not count."""

    def __init__(
        self, net: ChronotopeNet, counted_log: EventLog, catalog: Catalog, config: TrainingConfig
    ) -> None:
        discovery_head = net.discovery_head
        affinity = discovery_head is not None and discovery_head.active
        self.net, self.catalog, self.config = net, catalog, config
        self.priors = count_priors(counted_log, catalog, affinity=affinity)
        self.counter = activity_counter(counted_log, catalog)
        attributes = catalog.user_attributes
        prefix_names = () if attributes is None else attributes.context_columns
        self.columns = (*net.config.context, *prefix_names)

    def scored_batches(self, log: EventLog, is_chosen: npt.NDArray[np.bool_]) -> list[_ScoredBatch]:
        """Scored batches of the users' queries, by time of request within a history's length."""
        batch_list = []
        for n_events in N_EVENTS:
            new_users = new_user_queries(
                log, is_chosen, n_events, place_given=not self.catalog.items_are_places
            )
            time_order = np.argsort(new_users.queries.request_s, kind="stable")
            batch_list += [
                self._score_batch(new_users, time_order[start : start + BATCH_SIZE], n_events)
                for start in range(0, len(time_order), BATCH_SIZE)
            ]
        return batch_list

    def _score_batch(
        self, new_users: NewUserQueries, query_rows: npt.NDArray[np.int64], n_events: int
    ) -> _ScoredBatch:
        query_batch, priors = new_users.queries.take(query_rows), self.priors
        has_place = np.arange(len(query_rows)) % 2 == 0  # a request may tell the place or not
        place_idx = np.where(has_place, query_batch.request_place_idx, UNKNOWN)
        query_batch = replace(query_batch, request_place_idx=place_idx.astype(np.int32))
        if self.catalog.user_attributes is not None:
            query_batch.context.update(self.catalog.user_attributes.of_users(query_batch.user_idx))
        activity = torch.from_numpy(self.counter.at(int(query_batch.request_s[0])))
        priors = priors._replace(activity=activity)
        batch = to_batch(query_batch, max(8, query_batch.item_idx.shape[1]), self.columns)
        new_row = np.full(len(new_users.queries), -1)
        new_row[query_rows] = np.arange(len(query_rows))
        is_here = new_row[new_users.row] >= 0
        row, item_idx = new_row[new_users.row[is_here]], new_users.item_idx[is_here]
        candidate_idx, log_weight = self._candidates(priors, query_batch.item_idx, item_idx)
        column_of = torch.zeros(self.catalog.n_items, dtype=torch.int64)
        column_of[candidate_idx] = torch.arange(len(candidate_idx))
        with torch.no_grad():
            base_scores = self.net.score_items(batch, priors, candidate_idx).item_scores
        log_weight[0] = -1e9  # the unknown item
        n_targets = np.bincount(row, minlength=len(query_rows))
        return _ScoredBatch(
            batch,
            self.net.item_tables.view(priors, candidate_idx),
            candidate_idx,
            base_scores,
            log_weight,
            torch.from_numpy(row),
            column_of[torch.from_numpy(item_idx.astype(np.int64))],
            torch.from_numpy(1.0 / n_targets[row]).float(),
            torch.full((len(query_rows),), float(n_events > 0)),
        )

    def _candidates(
        self,
        priors: Priors,
        history: npt.NDArray[np.int32],
        targets: npt.NDArray[np.int32],
    ) -> tuple[Tensor, Tensor]:
        """Candidates, and the log of the number of items that each stands for, shape (C,) each."""
        n_items = self.catalog.n_items
        if n_items <= N_POPULAR:
            return torch.arange(n_items), torch.zeros(n_items)
        popular_items = torch.topk(priors.popularity, N_POPULAR).indices.numpy()
        item_idx = np.concatenate([history.ravel(), targets, popular_items])
        random_generator = np.random.default_rng(self.config.seed)
        sampled_items = sample_candidates(
            item_idx, n_items, self.config.n_negatives, random_generator
        )
        return sampled_items.item_idx, sampled_items.log_weight


def _fit_weights(user_head: UserHead, scored_batches: list[_ScoredBatch]) -> None:
    """L-BFGS over the weights: the problem is convex but for the fade.

    With few events the popularities are left to the network: it was trained on users with events,
    and a weight that makes rare items better calibrated makes the first ten worse.
    """
    user_head.log_fade.fill_(float(np.log(INITIAL_FADE)))
    is_fitted = torch.ones_like(user_head.weights)
    is_fitted[FADES.index("few_events"), FEATURES.index("start") + 1 :] = 0.0
    parameters = [*user_head.fitted(), user_head.log_fade]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe"
    )
    n_queries = sum(len(scored_batch.base_scores) for scored_batch in scored_batches)

    def closure() -> float:
        optimizer.zero_grad()
        total_loss = 0.0
        for scored_batch in scored_batches:  # one graph at a time bounds the memory
            batch_loss = _query_losses(user_head, scored_batch).sum() / n_queries
            torch.autograd.backward(batch_loss)
            total_loss += float(batch_loss.detach())
        ridge_penalty = (
            torch.stack([(weights**2).sum() for weights in user_head.fitted()]).sum() * RIDGE
        )
        torch.autograd.backward(ridge_penalty)
        if user_head.weights.grad is not None:
            user_head.weights.grad *= is_fitted
        return total_loss + float(ridge_penalty.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    for parameter in parameters:
        parameter.requires_grad_(False)
        parameter.grad = None


def _query_losses(user_head: UserHead, scored_batch: _ScoredBatch) -> Tensor:
    """Mean cross-entropy of the targets of each query, shape (B,)."""
    item_scores = _item_scores(user_head, scored_batch) + scored_batch.log_weight  # (B, C)
    log_shares = torch.log_softmax(item_scores, dim=1)[
        scored_batch.row, scored_batch.target_column
    ]  # (T,)
    return _query_means(-log_shares, scored_batch)


def _item_scores(user_head: UserHead, scored_batch: _ScoredBatch) -> Tensor:
    item_scores: Tensor = scored_batch.base_scores + user_head(
        scored_batch.batch, scored_batch.view, scored_batch.candidate_idx
    )
    return item_scores


def _query_gains(user_head: UserHead, scored_batch: _ScoredBatch) -> Tensor:
    """Mean NDCG@10 of the targets of each query, shape (B,)."""
    item_scores = _item_scores(user_head, scored_batch)
    target_scores = item_scores[scored_batch.row, scored_batch.target_column]  # (T,)
    n_above = (item_scores[scored_batch.row] > target_scores[:, None]).sum(1)  # (T,)
    target_gains = torch.where(n_above < N_LISTED, 1.0 / torch.log2(n_above + 2.0), 0.0)
    return _query_means(target_gains, scored_batch)


def _query_means(target_values: Tensor, scored_batch: _ScoredBatch) -> Tensor:
    query_means = torch.zeros(len(scored_batch.base_scores))
    return query_means.index_add(0, scored_batch.row, target_values * scored_batch.target_weight)


def _fade_quality(
    user_head: UserHead, scored_batches: list[_ScoredBatch]
) -> tuple[UserQuality, ...]:
    """Quality by fade: without an event, and with few."""
    with torch.no_grad():
        query_losses = torch.cat(
            [_query_losses(user_head, scored_batch) for scored_batch in scored_batches]
        )
        target_gains = torch.cat(
            [_query_gains(user_head, scored_batch) for scored_batch in scored_batches]
        )
    query_fade = torch.cat([scored_batch.is_few for scored_batch in scored_batches])
    return tuple(
        UserQuality(
            float(query_losses[query_fade == idx].mean()),
            float(target_gains[query_fade == idx].mean()),
        )
        for idx in range(len(FADES))
    )


def _drop_worthless(
    user_head: UserHead, judged_batches: list[_ScoredBatch], fit: UserHeadFit
) -> None:
    """Set weights to zero that do not help the users that judge."""
    for fade_idx, helps in enumerate(fit.helps):
        if not helps:
            for weights in user_head.fitted():
                weights[fade_idx] = 0.0
    column_weights, quality_with = (
        user_head.column_weights.clone(),
        _fade_quality(user_head, judged_batches),
    )
    user_head.column_weights.zero_()
    quality_without = _fade_quality(user_head, judged_batches)
    for fade_idx in range(len(FADES)):
        if quality_with[fade_idx].loss < quality_without[fade_idx].loss:
            user_head.column_weights[fade_idx] = column_weights[fade_idx]
