"""Probe of a blessing, run in a clean process: load, score, time and stress a bundle.

Usage: ``python -I -m chronotope.registry.blessing_probe BUNDLE QUERIES.npz OUT.npz N_TIMED``
"""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from chronotope.artifact.open_bundle import BundleRecommender, open_bundle
from chronotope.contracts.queries import Queries

LONGEST = 10_000
"""Events of the longest history it is asked with; the service takes no longer single_query."""


def main(bundle: Path, queries_path: Path, output_path: Path, n_timed: int) -> None:
    """Score the stored queries; write scores, latencies and NaN counts of hostile input."""
    model = open_bundle(bundle)
    with np.load(queries_path) as stored:
        queries = Queries.of_arrays(dict(stored))
    hostile_scores = [model.scores(hostile) for hostile in hostile_queries(queries)]
    np.savez(
        output_path,
        scores=model.scores(queries),
        latency_ms=_latencies_ms(model, queries, n_timed),
        n_nan=np.array([int(np.isnan(scores).sum()) for scores in hostile_scores]),
    )


def hostile_queries(queries: Queries) -> list[Queries]:
    """Hostile queries: unknown users, impossible times, endless repeats, non-finite context."""
    nothing = np.zeros_like(queries.item_idx)
    never = np.zeros_like(queries.occurred_s)
    cold_start_user = replace(
        queries,
        user_idx=np.zeros_like(queries.user_idx),
        item_idx=nothing,
        occurred_s=never,
        utc_offset_min=nothing,
        place_idx=nothing,
        request_place_idx=np.zeros_like(queries.request_place_idx),
    )
    before_the_past = replace(queries, request_s=np.zeros_like(queries.request_s))
    far_future = replace(queries, request_s=np.full_like(queries.request_s, 2**40))
    same_instant = replace(queries, occurred_s=np.full_like(queries.occurred_s, 1))
    repeated = replace(queries, item_idx=np.ones_like(queries.item_idx))
    odd, unknown = (
        replace(
            queries,
            context={name: np.full_like(column, value) for name, column in queries.context.items()},
        )
        for value in (np.inf, np.nan)
    )
    return [
        cold_start_user,
        before_the_past,
        far_future,
        same_instant,
        repeated,
        odd,
        unknown,
        _without_end(queries),
    ]


def _without_end(queries: Queries) -> Queries:
    """One user whose history has ``LONGEST`` events, the same ones over and over."""
    single_query = queries.take(slice(0, 1))
    rounds = -(-LONGEST // single_query.item_idx.shape[1])
    return replace(
        single_query,
        item_idx=np.tile(single_query.item_idx, rounds)[:, -LONGEST:],
        occurred_s=np.tile(single_query.occurred_s, rounds)[:, -LONGEST:],
        utc_offset_min=np.tile(single_query.utc_offset_min, rounds)[:, -LONGEST:],
        place_idx=np.tile(single_query.place_idx, rounds)[:, -LONGEST:],
    )


def _latencies_ms(model: BundleRecommender, queries: Queries, n: int) -> list[float]:
    """As it is served, one query after the other."""
    spent = []
    for query_idx in np.arange(n) % len(queries):
        answer = model.prepared(queries.take(slice(query_idx, query_idx + 1)))
        started = time.perf_counter()
        answer()
        spent.append(1000 * (time.perf_counter() - started))
    return spent


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
