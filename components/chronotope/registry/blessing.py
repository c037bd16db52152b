"""Blessing of a bundle: agreement, size and latency, measured in a clean process."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import softmax

from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.queries import Queries

_PROBE = "chronotope.registry.blessing_probe"


class BlessConfig(BaseModel):
    """Limits that a bundle must meet to be blessed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int = Field(10, ge=1, description="Length of the compared top-k lists")
    min_overlap: float = Field(
        0.9, ge=0, le=1, description="Minimum mean share of items in both top-k lists"
    )
    max_variation: float = Field(
        0.1, ge=0, le=1, description="Maximum mean total-variation distance of the probabilities"
    )
    max_size_mb: float = Field(
        200.0, gt=0, description="Maximum size of the bundle folder, in 10^6 bytes"
    )
    max_latency_ms: float = Field(
        50.0, gt=0, description="Maximum median latency of one query, in milliseconds"
    )
    n_timed: int = Field(50, ge=1, description="Number of timed queries")
    timeout_s: float = Field(120.0, gt=0, description="Time limit of the clean process, in seconds")


@dataclass(frozen=True, slots=True)
class Blessing:
    """Outcome of the blessing of a bundle.

    Attributes:
        passed: Whether the bundle meets all limits and may be served.
        reasons: Violated limits, one sentence each; empty if it passed.
        measured: Measurements by name: ``size_mb``, ``latency_ms``, ``overlap``, ``variation``,
            ``n_nan``; only ``size_mb`` if the clean process failed.
    """

    passed: bool
    reasons: tuple[str, ...]
    measured: dict[str, float]


def run_blessing(
    bundle_dir: Path,
    *,
    queries: Queries,
    expected_scores: npt.NDArray[np.floating],
    config: BlessConfig,
) -> Blessing:
    """Load, compare, time and stress a bundle in a clean process.

    Args:
        bundle_dir: Folder of the bundle as it would be served.
        queries: Real queries, at least one.
        expected_scores: Scores of the uncompressed model, shape (B, n_items).
        config: Limits.

    Raises:
        ArtifactError: ``queries`` is empty.
    """
    if len(queries) == 0:
        raise ArtifactError("A blessing needs at least one query", received=bundle_dir)
    size_mb = (
        sum(file_path.stat().st_size for file_path in bundle_dir.rglob("*") if file_path.is_file())
        / 1e6
    )
    with TemporaryDirectory() as scratch_dir:
        output_path = Path(scratch_dir) / "probe_output.npz"
        probe_problem = _run_probe(bundle_dir, queries, output_path, config)
        if probe_problem:
            return Blessing(False, (probe_problem,), {"size_mb": size_mb})
        with np.load(output_path) as stored_arrays:
            probe_output = dict(stored_arrays)
    if probe_output["scores"].shape != expected_scores.shape:
        shape_problem = (
            f"scores have shape {probe_output['scores'].shape}, not {expected_scores.shape}"
        )
        return Blessing(False, (shape_problem,), {"size_mb": size_mb})
    measured = {
        "size_mb": size_mb,
        "latency_ms": float(np.median(probe_output["latency_ms"])),
        **agreement(probe_output["scores"], expected_scores, config.k),
        "n_nan": float(probe_output["n_nan"].sum()),
    }
    reason_texts = _violated_limits(measured, config)
    return Blessing(not reason_texts, reason_texts, measured)


def agreement(
    model_scores: npt.NDArray[np.floating], expected_scores: npt.NDArray[np.floating], k: int
) -> dict[str, float]:
    """Agreement of two models: ``overlap`` of top-k lists and ``variation`` of probabilities.

    Args:
        model_scores: Scores of the bundle, shape (B, n_items).
        expected_scores: Scores of the uncompressed model, same shape.
        k: Length of the compared lists.
    """
    mean_variation = total_variation(model_scores, expected_scores)
    return {"overlap": _mean_overlap(model_scores, expected_scores, k), "variation": mean_variation}


def violated_agreement_bounds(measured: dict[str, float], config: BlessConfig) -> tuple[str, ...]:
    """Violated bounds on agreement, as sentences; NaN violates all."""
    bounds_met = {
        f"top-{config.k} overlap is below {config.min_overlap}": measured["overlap"]
        >= config.min_overlap,
        f"total variation is above {config.max_variation}": measured["variation"]
        <= config.max_variation,
    }
    rounded_metrics = {
        metric_name: round(measured[metric_name], 4) for metric_name in ("overlap", "variation")
    }
    return tuple(
        f"{violation_text}: {rounded_metrics}"
        for violation_text, is_met in bounds_met.items()
        if not is_met
    )


def total_variation(
    model_scores: npt.NDArray[np.floating], reference_scores: npt.NDArray[np.floating]
) -> float:
    """Mean total-variation distance of item probabilities, TV(p, q) = ½ Σᵢ |pᵢ - qᵢ|, in [0, 1].

    The probabilities are the softmax over the known items, without index 0. Unlike a distance
    of scores, it ignores differences that do not change the probabilities.

    Args:
        model_scores: Scores, shape (B, n_items).
        reference_scores: Scores, same shape.

    Example:
        >>> even, sure = np.zeros((1, 3)), np.array([[0.0, 50.0, 0.0]])
        >>> round(total_variation(even, sure), 6), total_variation(even, even + 7)
        (0.5, 0.0)
    """
    model_probabilities, reference_probabilities = (
        softmax(item_scores[:, 1:].astype(np.float64), axis=1)
        for item_scores in (model_scores, reference_scores)
    )
    return float(np.abs(model_probabilities - reference_probabilities).sum(axis=1).mean() / 2)


def _run_probe(bundle_dir: Path, queries: Queries, output_path: Path, config: BlessConfig) -> str:
    """Run the clean process; returns a description of its failure, "" on success."""
    queries_path = output_path.with_name("queries.npz")
    query_arrays: dict[str, Any] = queries.arrays()
    np.savez(queries_path, **query_arrays)
    probe_command = [sys.executable, "-I", "-m", _PROBE, str(bundle_dir.resolve())]
    probe_command += [str(queries_path), str(output_path), str(config.n_timed)]
    try:
        probe_process = subprocess.run(  # noqa: S603 - our own module, no shell
            probe_command, capture_output=True, text=True, timeout=config.timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the clean process took longer than {config.timeout_s} s"
    return (
        ""
        if probe_process.returncode == 0
        else f"the clean process failed: {probe_process.stderr[-500:]}"
    )


def _mean_overlap(
    model_scores: npt.NDArray[np.floating], reference_scores: npt.NDArray[np.floating], k: int
) -> float:
    """Mean share of items that are in the top-k lists of both models."""
    k = min(k, model_scores.shape[1])
    in_both = np.zeros(model_scores.shape, dtype=np.int8)
    for item_scores in (model_scores, reference_scores):
        top_items = np.argpartition(-item_scores, k - 1, axis=1)[:, :k]  # (B, k)
        np.put_along_axis(in_both, top_items, np.take_along_axis(in_both, top_items, 1) + 1, 1)
    return float((in_both == 2).sum(axis=1).mean() / k)


def _violated_limits(measured: dict[str, float], config: BlessConfig) -> tuple[str, ...]:
    """Violated limits, as sentences; NaN violates all."""
    limits_met = {
        f"size is above {config.max_size_mb} MB": measured["size_mb"] <= config.max_size_mb,
        f"latency is above {config.max_latency_ms} ms": measured["latency_ms"]
        <= config.max_latency_ms,
        "hostile input gives NaN": measured["n_nan"] == 0,
    }
    reason_texts = tuple(
        f"{violation_text}: {measured}"
        for violation_text, is_met in limits_met.items()
        if not is_met
    )
    return (*reason_texts, *violated_agreement_bounds(measured, config))
