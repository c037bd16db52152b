"""What a bundle costs: its size, one user's wait, many users' at once, memory."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from chronotope.artifact.bundle import serving_size_bytes
from chronotope.artifact.open_bundle import BundleRecommender, open_bundle
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.queries import Queries

N_WARM: Final = 5
N_AT_ONCE: Final = 64
"""Queries of a full batch."""

PATIENCE_S: Final = 120.0
_PROBE: Final = "chronotope.compression.memory_probe"


@dataclass(frozen=True, slots=True)
class BundleCost:
    """Cost of one answer.

    Attributes:
        size_mb: The graph and, of a large catalogue, its index, in 10^6 bytes.
        p50_ms: Median time of one query, one thread.
        p99_ms: Its 99th percentile.
    """

    size_mb: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class LoadCost:
    """Cost of serving many.

    Attributes:
        batch_ms: Median time of 64 queries at once, one thread.
        rss_mb: Resident memory of a clean process that opens the bundle and answers once,
            above one that has only imported what it needs for that, in 10^6 bytes.
    """

    batch_ms: float
    rss_mb: float

    @property
    def queries_per_s(self) -> float:
        """Throughput in batches of 64."""
        return 1e3 * N_AT_ONCE / self.batch_ms


def measure_latency(bundle: Path, queries: Queries, *, n_runs: int = 200) -> BundleCost:
    """Time queries one by one on one thread, after a few that do not count.

    Args:
        bundle: Folder of a bundle.
        queries: Questions asked in turn, at least one.
        n_runs: Questions timed.

    Raises:
        ArtifactError: There is no query, or the bundle is broken.
    """
    model = _opened(bundle, queries)
    asked = [
        model.prepared(queries.take(slice(row, row + 1)))
        for row in range(min(len(queries), n_runs))
    ]
    times_ms = time_calls_ms(lambda run: asked[run % len(asked)](), n_runs)
    p50_ms, p99_ms = np.percentile(times_ms, [50, 99])
    return BundleCost(serving_size_bytes(bundle) / 1e6, float(p50_ms), float(p99_ms))


def measure_load(bundle: Path, queries: Queries, *, n_runs: int = 200) -> LoadCost:
    """Time 64 queries at once, and weigh a clean process.

    Args:
        bundle: Folder of a bundle.
        queries: Questions, repeated if there are fewer than 64; at least one.
        n_runs: Questions timed, in whole batches, at least three of them.

    Raises:
        ArtifactError: There is no query, the bundle is broken, or its process died.
    """
    model = _opened(bundle, queries)
    many = model.prepared(queries.take(np.arange(N_AT_ONCE) % len(queries)))
    n_batches = max(3, n_runs // N_AT_ONCE)
    times_ms = time_calls_ms(lambda _: many(), n_batches, n_warm=1)
    return LoadCost(float(np.median(times_ms)), _resident_mb(bundle, queries.take(slice(0, 1))))


def time_calls_ms(work: Callable[[int], object], n: int, *, n_warm: int = N_WARM) -> list[float]:
    """Milliseconds of each of ``n`` calls, after some that do not count."""
    times_ms = []
    for run in range(-n_warm, n):
        start_s = time.perf_counter()
        work(run)
        if run >= 0:
            times_ms.append(1e3 * (time.perf_counter() - start_s))
    return times_ms


def _opened(bundle: Path, queries: Queries) -> BundleRecommender:
    if len(queries) == 0:
        raise ArtifactError("Measuring needs at least one query", received=bundle)
    return open_bundle(bundle, n_threads=1)


def _resident_mb(bundle: Path, query: Queries) -> float:
    """Memory that a bundle takes in a process that does nothing else."""
    with TemporaryDirectory() as scratch:
        asked = Path(scratch) / "asked.npz"
        named: dict[str, Any] = query.arrays()
        np.savez(asked, **named)
        command = [sys.executable, "-I", "-m", _PROBE, str(bundle.resolve()), str(asked)]
        try:
            done = subprocess.run(  # noqa: S603 - our own file, no shell
                command, capture_output=True, text=True, timeout=PATIENCE_S, check=True
            )
        except subprocess.SubprocessError as error:
            told = getattr(error, "stderr", "") or str(error)
            raise ArtifactError(
                "The memory of the bundle could not be measured", received=told[-300:]
            ) from error
    return float(done.stdout)
