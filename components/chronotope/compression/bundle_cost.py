"""Serving cost of a bundle: size, latency of one query, throughput of batches, memory."""

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

N_WARMUP: Final = 5
BATCH_QUERIES: Final = 64
"""Queries of a full batch."""

PROBE_TIMEOUT_S: Final = 120.0
_PROBE_MODULE: Final = "chronotope.compression.memory_probe"


@dataclass(frozen=True, slots=True)
class BundleCost:
    """Size and single-query latency of a bundle.

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
    """Batch latency and memory of a bundle.

    Attributes:
        batch_ms: Median time of 64 queries at once, one thread.
        rss_mb: Resident memory of a clean process that opens the bundle and answers once,
            above one that has only imported the libraries for it, in 10^6 bytes.
    """

    batch_ms: float
    rss_mb: float

    @property
    def queries_per_s(self) -> float:
        """Throughput in batches of 64."""
        return 1e3 * BATCH_QUERIES / self.batch_ms


def measure_latency(bundle_dir: Path, queries: Queries, *, n_runs: int = 200) -> BundleCost:
    """Size of a bundle and latency of single queries on one thread, after a warm-up.

    Args:
        bundle_dir: Folder of a bundle.
        queries: Queries run in turn, at least one.
        n_runs: Queries timed.

    Raises:
        ArtifactError: There is no query, or the bundle is broken.
    """
    model = _open_model(bundle_dir, queries)
    prepared_calls = [
        model.prepared(queries.take(slice(row, row + 1)))
        for row in range(min(len(queries), n_runs))
    ]
    times_ms = time_calls_ms(lambda run: prepared_calls[run % len(prepared_calls)](), n_runs)
    p50_ms, p99_ms = np.percentile(times_ms, [50, 99])
    return BundleCost(serving_size_bytes(bundle_dir) / 1e6, float(p50_ms), float(p99_ms))


def measure_load(bundle_dir: Path, queries: Queries, *, n_runs: int = 200) -> LoadCost:
    """Latency of batches of 64 queries, and memory of a clean process.

    Args:
        bundle_dir: Folder of a bundle.
        queries: Queries, repeated if there are fewer than 64; at least one.
        n_runs: Queries timed, in whole batches, at least three of them.

    Raises:
        ArtifactError: There is no query, the bundle is broken, or its process died.
    """
    model = _open_model(bundle_dir, queries)
    prepared_batch = model.prepared(queries.take(np.arange(BATCH_QUERIES) % len(queries)))
    n_batches = max(3, n_runs // BATCH_QUERIES)
    times_ms = time_calls_ms(lambda _: prepared_batch(), n_batches, n_warmup=1)
    rss_mb = _resident_mb(bundle_dir, queries.take(slice(0, 1)))
    return LoadCost(float(np.median(times_ms)), rss_mb)


def time_calls_ms(
    call: Callable[[int], object], n_calls: int, *, n_warmup: int = N_WARMUP
) -> list[float]:
    """Milliseconds of each of ``n_calls`` calls, after untimed warm-up calls."""
    times_ms = []
    for run in range(-n_warmup, n_calls):
        start_s = time.perf_counter()
        call(run)
        if run >= 0:
            times_ms.append(1e3 * (time.perf_counter() - start_s))
    return times_ms


def _open_model(bundle_dir: Path, queries: Queries) -> BundleRecommender:
    if len(queries) == 0:
        raise ArtifactError("Measuring needs at least one query", received=bundle_dir)
    return open_bundle(bundle_dir, n_threads=1)


def _resident_mb(bundle_dir: Path, query: Queries) -> float:
    """Memory of a bundle in a process that does nothing else."""
    with TemporaryDirectory() as temp_dir:
        query_path = Path(temp_dir) / "query.npz"
        query_arrays: dict[str, Any] = query.arrays()
        np.savez(query_path, **query_arrays)
        bundle_path = str(bundle_dir.resolve())
        command = [sys.executable, "-I", "-m", _PROBE_MODULE, bundle_path, str(query_path)]
        try:
            process = subprocess.run(  # noqa: S603 - our own file, no shell
                command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=True
            )
        except subprocess.SubprocessError as error:
            error_text = getattr(error, "stderr", "") or str(error)
            raise ArtifactError(
                "The memory of the bundle could not be measured", received=error_text[-300:]
            ) from error
    return float(process.stdout)
