"""Protocol ``by_time`` of ``benchmarks.cold_items``: items whose first event is late.

The log is cut at its .85 quantile of time; models are trained on what lies before. Targets are
later events on items without an event before the cut, of users with a history at that moment. Each
is ranked among all such items that the user has not had (NDCG@10, HR@10), and by our network among
the whole catalogue (``hr_10_all``). Everything that happened before a target is in its history.
``ndcg_10_every`` is that of our network on a sample of all later events, whatever their item.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from torch import nn

from benchmarks.cold_item_views import (
    film_attributes,
    film_texts,
    poster_vectors,
    text_vectors,
)
from benchmarks.peers.data import read_dataset
from benchmarks.rows import Row
from chronotope.content.content_axes import project_items
from chronotope.content.encoders.attribute_encoder import AttributeEncoder
from chronotope.contracts.event_log import Catalog, EventLog, Float32, Int64
from chronotope.contracts.queries import Queries, queries_at
from chronotope.features.snapshot import load_features
from chronotope.metrics import bootstrap_interval
from chronotope.models.config import ModelConfig
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

PROTOCOL: Final = "by_time"
CUT_QUANTILE: Final = 0.85
HISTORY_LEN: Final = 1_024
BATCH_SIZE: Final = 256
N_FACTORS: Final = 64
CUTOFF: Final = 10
MAX_EVERY: Final = 4_000
"""Later events on which the network is judged whatever their item."""

Scores = Callable[[Queries], npt.NDArray[np.floating]]


@dataclass(frozen=True, slots=True)
class LateItems:
    """Task of the protocol.

    Attributes:
        log: All events.
        catalog: Catalogue with the content of its items.
        train: Events before the cut.
        is_late: Items without an event before the cut, shape (n_items,).
        targets: Positions of the targets in the log.
        every_target: Positions of a sample of all later events.
    """

    log: EventLog
    catalog: Catalog
    train: EventLog
    is_late: npt.NDArray[np.bool_]
    targets: Int64
    every_target: Int64


def late_items(log: EventLog, catalog: Catalog, *, quantile: float = CUT_QUANTILE) -> LateItems:
    """Cut a log in time.

    Args:
        log: All events.
        catalog: Its catalogue.
        quantile: Share of the events before the cut.
    """
    cut_s = int(np.quantile(log.occurred_s, quantile))
    train = log.before(cut_s)
    is_late = np.bincount(train.item_idx, minlength=catalog.n_items) == 0
    is_late[0] = False
    is_target = (log.occurred_s >= cut_s) & (log.user_start() < log.basket_start())
    targets, later = np.flatnonzero(is_target & is_late[log.item_idx]), np.flatnonzero(is_target)
    n_sampled = min(MAX_EVERY, len(later))
    every_target = np.sort(np.random.default_rng(0).choice(later, n_sampled, replace=False))
    return LateItems(log, catalog, train, is_late, targets, every_target)


def category_popularity(task: LateItems) -> Scores:
    """Mean popularity of the training items of the item's category."""
    counts = np.bincount(task.train.item_idx, minlength=task.catalog.n_items).astype(np.float64)
    category = task.catalog.item_category
    n_categories = task.catalog.categories.size
    is_known = ~task.is_late
    totals = np.bincount(category[is_known], counts[is_known], n_categories)
    means = totals / np.maximum(np.bincount(category[is_known], minlength=n_categories), 1)
    return lambda queries: np.tile(means[category], (len(queries), 1))


def item_knn(task: LateItems) -> Scores:
    """Sum of the cosines in content to the items of the history."""
    vectors = _content(task)
    return lambda queries: _profile(queries, vectors) @ vectors.T


def dropout_net(task: LateItems, *, seed: int = 0) -> Scores:
    """DropoutNet: content stands in for latent factors that are dropped in training.

    Source:
        Volkovs, Yu and Poutanen (2017), DropoutNet: Addressing Cold Start in Recommender Systems.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    n_users, n_items = int(task.log.user_idx.max()) + 1, task.catalog.n_items
    had = np.zeros((n_users, n_items), np.float32)
    had[task.train.user_idx, task.train.item_idx] = 1.0
    users = np.flatnonzero(had.any(axis=1))
    left, values, right = np.linalg.svd(had[users], full_matrices=False)
    scale = np.sqrt(values[:N_FACTORS])
    user_factors = torch.from_numpy(left[:, :N_FACTORS] * scale)
    item_factors = torch.from_numpy(right[:N_FACTORS].T * scale)  # (n_items, N_FACTORS)
    content = torch.from_numpy(_content(task))
    item_net = _two_layers(N_FACTORS + content.shape[1])
    user_net = _two_layers(N_FACTORS)
    warm = torch.from_numpy(np.flatnonzero(~task.is_late)[1:])
    optimizer = torch.optim.Adam([*item_net.parameters(), *user_net.parameters()], lr=1e-3)
    for _ in range(600):
        rows = torch.from_numpy(rng.integers(0, len(users), 256))
        items = warm[torch.from_numpy(rng.integers(0, len(warm), 256))]
        is_kept = (torch.rand(len(items), 1) < 0.5).float()
        item_vectors = item_net(torch.cat([item_factors[items] * is_kept, content[items]], dim=1))
        wanted = user_factors[rows] @ item_factors[items].T
        loss = (user_net(user_factors[rows]) @ item_vectors.T - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    known = item_factors * torch.from_numpy(~task.is_late).float()[:, None]
    with torch.no_grad():
        item_vectors = item_net(torch.cat([known, content], dim=1)).numpy()
    transform = (known / torch.from_numpy(values[:N_FACTORS])).numpy()

    def scores(queries: Queries) -> npt.NDArray[np.floating]:
        folded_in = torch.from_numpy(_profile(queries, transform) * scale)
        with torch.no_grad():
            return np.asarray(user_net(folded_in.float()).numpy() @ item_vectors.T)

    return scores


def network(task: LateItems, *, has_content: bool, seed: int = 0) -> Scores:
    """Our network, with the content of the items or without."""
    model = ChronotopeRecommender(
        ModelConfig(content=has_content), TrainingConfig(max_epochs=4, seed=seed)
    )
    model.fit(task.train, task.catalog)
    return model.scores


def run(data_dir: Path, dataset: str) -> list[Row]:
    """Rows of all models.

    Args:
        data_dir: Folder of MovieLens-100K.
        dataset: Name of the data set.
    """
    task = late_items(*read_films(data_dir))
    fits: dict[str, Callable[[], Scores]] = {
        "category popularity": lambda: category_popularity(task),
        "ItemKNN over content": lambda: item_knn(task),
        "DropoutNet": lambda: dropout_net(task),
        "Chronotope without content": lambda: network(task, has_content=False),
        "Chronotope": lambda: network(task, has_content=True),
    }
    rows = []
    for name, fit in fits.items():
        started_s = time.process_time()
        row: Row = {"dataset": dataset, "protocol": PROTOCOL, "model": name}
        row |= _metrics(task, fit(), ranks_all=name.startswith("Chronotope"))
        rows.append(row | {"seconds": round(time.process_time() - started_s, 1)})
    return rows


def read_films(data_dir: Path) -> tuple[EventLog, Catalog]:
    """MovieLens-100K with texts (title, genres, overview), posters and attributes as content.

    Args:
        data_dir: Folder with ``items.parquet``, ``ratings.parquet`` and ``posters``.
    """
    with tempfile.TemporaryDirectory() as snapshots:
        log, catalog = load_features(
            read_dataset("movielens_100k", data_dir.parent, Path(snapshots))
        )
    items = pq.read_table(data_dir / "items.parquet")
    texts = [
        f"{genres.replace('|', ', ')}. {text}"
        for genres, text in zip(items.column("genres").to_pylist(), film_texts(items), strict=True)
    ]
    movie_ids = items.column("movie_id").to_pylist()
    item_idx = catalog.items.index([str(movie_id) for movie_id in movie_ids]).astype(np.int64)
    attributes = film_attributes(items)
    by_modality = {
        "text": text_vectors(texts),
        "image": poster_vectors(movie_ids, data_dir),
        "attributes": AttributeEncoder.fit(attributes).encode(attributes),
    }
    vectors = {
        name: _rows(rows, item_idx, catalog.n_items)
        for name, rows in by_modality.items()
        if rows is not None
    }
    content = project_items(vectors, dict.fromkeys(vectors, "benchmark"))
    return log, replace(catalog, content=content)


def _metrics(task: LateItems, scores: Scores, *, ranks_all: bool) -> Row:
    ranks, ranks_among_all = target_ranks(task, task.targets, scores)
    interval = bootstrap_interval(target_gains(ranks), task.log.user_idx[task.targets])
    row: Row = {"n_targets": len(ranks), "n_items": int(task.is_late.sum())}
    row |= {"ndcg_10": interval.estimate, "low": interval.low, "high": interval.high}
    row |= {"hr_10": float((ranks < CUTOFF).mean())}
    if not ranks_all:
        return row
    _, every_rank = target_ranks(task, task.every_target, scores)
    every = bootstrap_interval(target_gains(every_rank), task.log.user_idx[task.every_target])
    row |= {"hr_10_all": float((ranks_among_all < CUTOFF).mean()), "n_every": len(every_rank)}
    row |= {"ndcg_10_every": every.estimate}
    return row | {"ndcg_10_every_low": every.low, "ndcg_10_every_high": every.high}


def target_gains(ranks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """NDCG@10 of each target.

    Args:
        ranks: Rank of each target, from 0.
    """
    return np.where(ranks < CUTOFF, 1 / np.log2(ranks + 2), 0.0)


def target_ranks(
    task: LateItems, targets: Int64, scores: Scores
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Expected rank from 0 of each target, among the late items and among all.

    Args:
        task: The task.
        targets: Positions of the targets in its log.
        scores: The model.
    """
    among_late, among_all = [], []
    for start in range(0, len(targets), BATCH_SIZE):
        positions = targets[start : start + BATCH_SIZE]
        queries = queries_at(task.log, positions, history_len=HISTORY_LEN, time_given=True)
        item_scores = np.asarray(scores(queries), np.float64)
        np.put_along_axis(item_scores, queries.item_idx.astype(np.int64), -np.inf, axis=1)
        item_scores[:, 0] = -np.inf
        target = np.take_along_axis(item_scores, task.log.item_idx[positions][:, None], axis=1)
        is_better = (item_scores > target) + 0.5 * (item_scores == target)
        among_late.append(is_better[:, task.is_late].sum(axis=1) - 0.5)
        among_all.append(is_better.sum(axis=1) - 0.5)
    return np.concatenate(among_late), np.concatenate(among_all)


def _content(task: LateItems) -> Float32:
    if task.catalog.content is None:
        raise ValueError("the catalogue has no content")
    return task.catalog.content.unit_blocks()


def _profile(queries: Queries, vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Sum of the vectors of the history, shape (B, d)."""
    is_event = (queries.item_idx > 0)[..., None]
    return np.asarray((vectors[queries.item_idx] * is_event).sum(axis=1))


def _two_layers(n_inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_inputs, 200), nn.Tanh(), nn.Linear(200, N_FACTORS))


def _rows(rows: Float32, item_idx: Int64, n_items: int) -> Float32:
    """Rows in the order of the catalogue, zero for items that are not in it."""
    placed = np.zeros((n_items, rows.shape[1]), np.float32)
    placed[item_idx] = rows
    placed[0] = 0.0
    return placed
