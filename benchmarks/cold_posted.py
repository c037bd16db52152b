"""Protocol ``posted`` of ``benchmarks.cold_items``: films that come after the training.

Of the films with 20 events or more, 60 drawn at random lose their events before the .85 quantile of
time, and the network is trained without them: as if they were posted to the service then. Targets
are their later events of users who liked them (four stars or more) and have a history at that
moment. Each is ranked among all items that the user has not had. ``ndcg_10_rest`` is that of a
sample of all other later events.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.cold_by_time import (
    CUT_QUANTILE,
    MAX_EVERY,
    LateItems,
    Scores,
    network,
    read_films,
    target_gains,
    target_ranks,
)
from benchmarks.rows import Row
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.metrics import bootstrap_interval

PROTOCOL: Final = "posted"
N_POSTED: Final = 60
MIN_EVENTS: Final = 20
LIKED: Final = 4.0
"""Stars of a film that a user liked."""


def posted_items(
    log: EventLog, catalog: Catalog, *, quantile: float = CUT_QUANTILE, seed: int = 0
) -> LateItems:
    """Hold out films.

    Args:
        log: All events.
        catalog: Its catalogue.
        quantile: Share of the events before the cut.
        seed: Seed of the draw of the films.
    """
    cut_s, rng = int(np.quantile(log.occurred_s, quantile)), np.random.default_rng(seed)
    n_events = np.bincount(log.item_idx, minlength=catalog.n_items)
    known_films = np.flatnonzero(n_events >= MIN_EVENTS)
    is_posted = np.zeros(catalog.n_items, np.bool_)
    is_posted[rng.choice(known_films, min(N_POSTED, len(known_films) // 2), replace=False)] = True
    remaining = log.take(~(is_posted[log.item_idx] & (log.occurred_s < cut_s)))
    is_target = (remaining.occurred_s >= cut_s) & (
        remaining.user_start() < remaining.basket_start()
    )
    of_posted = is_posted[remaining.item_idx]
    targets = np.flatnonzero(is_target & of_posted & (remaining.value >= LIKED))
    rest = np.flatnonzero(is_target & ~of_posted)
    rest_targets = np.sort(rng.choice(rest, min(MAX_EVERY, len(rest)), replace=False))
    train = remaining.before(cut_s)
    return LateItems(remaining, catalog, train, is_posted, targets, rest_targets)


def run(data_dir: Path, dataset: str) -> list[Row]:
    """Rows of the network without content and with it.

    Args:
        data_dir: Folder of MovieLens-100K.
        dataset: Name of the data set.
    """
    task = posted_items(*read_films(data_dir))
    fits: dict[str, Callable[[], Scores]] = {
        "Chronotope without content": lambda: network(task, has_content=False),
        "Chronotope": lambda: network(task, has_content=True),
    }
    rows = []
    for name, fit in fits.items():
        started_s = time.process_time()
        row: Row = {"dataset": dataset, "protocol": PROTOCOL, "model": name}
        row |= _metrics(task, fit())
        rows.append(row | {"seconds": round(time.process_time() - started_s, 1)})
    return rows


def _metrics(task: LateItems, scores: Scores) -> Row:
    among_posted, among_all = target_ranks(task, task.targets, scores)
    _, rest_ranks = target_ranks(task, task.every_target, scores)
    interval = bootstrap_interval(target_gains(among_posted), task.log.user_idx[task.targets])
    rest = bootstrap_interval(target_gains(rest_ranks), task.log.user_idx[task.every_target])
    row: Row = {"n_targets": len(among_all), "n_items": int(task.is_late.sum())}
    row |= {"ndcg_10": interval.estimate, "low": interval.low, "high": interval.high}
    row |= {"hr_10": float((among_posted < 10).mean())}
    row |= {"median_rank_all": float(np.median(among_all)) + 1.0}
    row |= {"hr_100_all": float((among_all < 100).mean())}
    return row | {"ndcg_10_rest": rest.estimate, "rest_low": rest.low, "rest_high": rest.high}
