"""What runs in the clean process of a blessing: load, answer, be timed, be abused.

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
"""Events of the longest history it is asked with; the service takes no longer one."""


def main(bundle: Path, asked: Path, answered: Path, n_timed: int) -> None:
    """Answer the stored queries and write scores, latencies and the NaNs of abuse."""
    model = open_bundle(bundle)
    with np.load(asked) as stored:
        queries = Queries.of_arrays(dict(stored))
    abused = [model.scores(hostile) for hostile in hostile_queries(queries)]
    np.savez(
        answered,
        scores=model.scores(queries),
        latency_ms=_latencies_ms(model, queries, n_timed),
        n_nan=np.array([int(np.isnan(scores).sum()) for scores in abused]),
    )


def hostile_queries(queries: Queries) -> list[Queries]:
    """Strangers, clocks that lie, histories of one endless repeat, weather out of this world."""
    nothing = np.zeros_like(queries.item_idx)
    never = np.zeros_like(queries.occurred_s)
    stranger = replace(
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
        replace(queries, context={n: np.full_like(of, told) for n, of in queries.context.items()})
        for told in (np.inf, np.nan)
    )
    return [
        stranger,
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
    one = queries.take(slice(0, 1))
    rounds = -(-LONGEST // one.item_idx.shape[1])
    return replace(
        one,
        item_idx=np.tile(one.item_idx, rounds)[:, -LONGEST:],
        occurred_s=np.tile(one.occurred_s, rounds)[:, -LONGEST:],
        utc_offset_min=np.tile(one.utc_offset_min, rounds)[:, -LONGEST:],
        place_idx=np.tile(one.place_idx, rounds)[:, -LONGEST:],
    )


def _latencies_ms(model: BundleRecommender, queries: Queries, n: int) -> list[float]:
    """As it is served, one query after the other."""
    spent = []
    for at in np.arange(n) % len(queries):
        answer = model.prepared(queries.take(slice(at, at + 1)))
        started = time.perf_counter()
        answer()
        spent.append(1000 * (time.perf_counter() - started))
    return spent


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
