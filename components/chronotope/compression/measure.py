"""Size and latency of a bundle, as one user would feel them."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chronotope.artifact.bundle import MODEL
from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.queries import Queries

N_WARM = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """Cost of answering.

    Attributes:
        size_mb: The graph's file, in 10^6 bytes.
        p50_ms: Median time of one query, one thread.
        p99_ms: Its 99th percentile.
    """

    size_mb: float
    p50_ms: float
    p99_ms: float


def measure(bundle: Path, queries: Queries, *, n_runs: int = 200) -> Measured:
    """Time queries one by one on one thread, after a few that do not count.

    Args:
        bundle: Folder of a bundle.
        queries: Questions asked in turn, at least one.
        n_runs: Questions timed.

    Raises:
        ArtifactError: There is no query, or the bundle is broken.
    """
    if len(queries) == 0:
        raise ArtifactError("Measuring needs at least one query", received=bundle)
    model = OnnxRecommender.load(bundle, n_threads=1)
    asked = [
        model.feed(queries.take(slice(row, row + 1))) for row in range(min(len(queries), n_runs))
    ]
    times_s = []
    for run in range(-N_WARM, n_runs):
        start_s = time.perf_counter()
        model.session.run(None, asked[run % len(asked)])
        if run >= 0:
            times_s.append(time.perf_counter() - start_s)
    p50_s, p99_s = np.percentile(times_s, [50, 99])
    size_mb = (bundle / MODEL).stat().st_size / 1e6
    return Measured(size_mb, 1e3 * float(p50_s), 1e3 * float(p99_s))
