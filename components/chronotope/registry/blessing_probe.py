"""Program of the clean process of a blessing: loads, scores, times and stresses a bundle.

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
"""Longest history of the probe, in events; the service refuses longer ones."""


def main(bundle_dir: Path, queries_path: Path, output_path: Path, n_timed: int) -> None:
    """Score the stored queries and write scores, latencies, and NaN counts of hostile queries."""
    bundled_model = open_bundle(bundle_dir)
    with np.load(queries_path) as stored_arrays:
        probe_queries = Queries.of_arrays(dict(stored_arrays))
    hostile_scores = [
        bundled_model.scores(hostile_query) for hostile_query in hostile_queries(probe_queries)
    ]
    np.savez(
        output_path,
        scores=bundled_model.scores(probe_queries),
        latency_ms=_latencies_ms(bundled_model, probe_queries, n_timed),
        n_nan=np.array([int(np.isnan(item_scores).sum()) for item_scores in hostile_scores]),
    )


def hostile_queries(probe_queries: Queries) -> list[Queries]:
    """Extreme queries: unknown users, impossible times, long repeats, non-finite context."""
    no_items = np.zeros_like(probe_queries.item_idx)
    no_times = np.zeros_like(probe_queries.occurred_s)
    cold_start_user = replace(
        probe_queries,
        user_idx=np.zeros_like(probe_queries.user_idx),
        item_idx=no_items,
        occurred_s=no_times,
        utc_offset_min=no_items,
        place_idx=no_items,
        request_place_idx=np.zeros_like(probe_queries.request_place_idx),
    )
    before_history = replace(probe_queries, request_s=np.zeros_like(probe_queries.request_s))
    far_future = replace(probe_queries, request_s=np.full_like(probe_queries.request_s, 2**40))
    same_instant = replace(probe_queries, occurred_s=np.full_like(probe_queries.occurred_s, 1))
    repeated_item = replace(probe_queries, item_idx=np.ones_like(probe_queries.item_idx))
    infinite_context, missing_context = (
        replace(
            probe_queries,
            context={
                column_name: np.full_like(column_values, context_value)
                for column_name, column_values in probe_queries.context.items()
            },
        )
        for context_value in (np.inf, np.nan)
    )
    return [
        cold_start_user,
        before_history,
        far_future,
        same_instant,
        repeated_item,
        infinite_context,
        missing_context,
        _longest_history(probe_queries),
    ]


def _longest_history(probe_queries: Queries) -> Queries:
    """One query whose history is repeated up to ``LONGEST`` events."""
    single_query = probe_queries.take(slice(0, 1))
    n_repeats = -(-LONGEST // single_query.item_idx.shape[1])
    return replace(
        single_query,
        item_idx=np.tile(single_query.item_idx, n_repeats)[:, -LONGEST:],
        occurred_s=np.tile(single_query.occurred_s, n_repeats)[:, -LONGEST:],
        utc_offset_min=np.tile(single_query.utc_offset_min, n_repeats)[:, -LONGEST:],
        place_idx=np.tile(single_query.place_idx, n_repeats)[:, -LONGEST:],
    )


def _latencies_ms(
    bundled_model: BundleRecommender, probe_queries: Queries, n_runs: int
) -> list[float]:
    """Latency of each query in milliseconds, scored one by one as in serving."""
    latencies_ms = []
    for query_idx in np.arange(n_runs) % len(probe_queries):
        run_query = bundled_model.prepared(probe_queries.take(slice(query_idx, query_idx + 1)))
        started_s = time.perf_counter()
        run_query()
        latencies_ms.append(1000 * (time.perf_counter() - started_s))
    return latencies_ms


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
