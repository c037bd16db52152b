"""Which candidate to ship: the smallest that meets the objective, and why no other one."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from chronotope.compression.bundle_cost import BundleCost, LoadCost
from chronotope.compression.graph_variants import Variant
from chronotope.compression.pareto_front import is_on_front
from chronotope.contracts.errors import ArtifactError


class CompressionConfig(BaseModel):
    """What is tried and what it may cost: the service-level objective."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_ndcg_loss: float = Field(
        0.01, ge=0.0, le=1.0, description="NDCG@10 that may be lost, absolute."
    )
    max_latency_ms: float = Field(
        50.0, gt=0.0, description="Median latency of one query at most, one thread."
    )
    max_size_mb: float = Field(
        200.0, gt=0.0, description="Size of graph and index at most, in 10^6 bytes."
    )
    size_tie: float = Field(
        0.02, ge=0.0, le=1.0, description="Share by which sizes may differ and count as equal."
    )
    variants: tuple[Variant, ...] = Field(
        ("exact_tables", "fp16_tables", "int8_tables", "int8_matmul", "int8_gather"),
        description="Variants of each network beside float32.",
    )
    pruned_weights: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share of weights set to zero; 0 skips it."
    )
    pruned_units: float = Field(
        0.5, ge=0.0, lt=1.0, description="Share of hidden units removed; 0 skips it."
    )
    student: bool = Field(
        True, description="Distil a smaller network; costs a short training and an export."
    )
    student_history_len: int = Field(
        64, ge=4, le=4096, description="Events the distilled student reads."
    )
    student_hidden: int = Field(
        12, ge=4, le=512, description="Width of the distilled student's gates."
    )
    successors: int = Field(
        0,
        ge=0,
        le=32,
        description="The trained network with so many successors of each item in its tables, "
        "tried too; 0 skips it.",
    )
    index_above_items: int = Field(
        200_000,
        ge=0,
        description="A catalogue of more items, none of which has coordinates, is ranked by an "
        "index instead of scored in full.",
    )
    index_codes: tuple[Annotated[int, Field(ge=2, le=256, multiple_of=2)], ...] = Field(
        (8, 16, 32),
        min_length=1,
        description="Bytes an item of the indexes tried: even numbers up to 256. More are "
        "more accurate, and slower.",
    )
    index_rerank: bool = Field(
        True,
        description="Try each index also with what its codes leave out kept on the disk, to "
        "rank the best again: larger, more accurate, hardly slower.",
    )
    n_runs: int = Field(200, ge=1, le=100_000, description="Queries timed a candidate.")
    n_trials: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Candidates tried in all. If these are more than the fixed ones above, a "
        "search goes wider and draws the whole front; 0 tries the fixed ones alone.",
    )
    timeout_s: float | None = Field(
        None, gt=0, description="Start no candidate of the wider search after so many seconds."
    )
    seed: int = Field(0, ge=0, description="Seed of the wider search.")


@dataclass(frozen=True, slots=True)
class CandidateEvaluation:
    """What a candidate is worth, and what it costs a server.

    Attributes:
        ndcg: NDCG@10 by the caller's evaluation.
        acc: Acc@10 of the same.
        load: Cost of many queries at once, and memory.
        refused: Why it may not be shipped however accurate it is; empty if it may.
    """

    ndcg: float
    acc: float
    load: LoadCost
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One bundle that could be shipped.

    Attributes:
        name: Network and variant.
        folder: The bundle.
        measured: Size and latency.
        judged: None if it was not evaluated, because it could not be chosen any more.
    """

    name: str
    folder: Path
    measured: BundleCost
    judged: CandidateEvaluation | None

    @property
    def ndcg(self) -> float:
        """NDCG@10; NaN if it was not evaluated."""
        return float("nan") if self.judged is None else self.judged.ndcg


def select_candidate(candidates: Sequence[Candidate], config: CompressionConfig) -> Candidate:
    """The smallest candidate on the Pareto front of those that break no bound.

    Among sizes that count as equal the most accurate wins: a few bytes are not worth
    accuracy. The first candidate is the reference; it is the answer when no other one holds.

    Raises:
        ArtifactError: There is no candidate.
    """
    if not candidates:
        raise ArtifactError("There is no candidate to choose from")
    reference = candidates[0]
    held = pareto_front([c for c in candidates if not violated_bounds(c, reference, config)])
    smallest_mb = min((c.measured.size_mb for c in held), default=0.0)
    equal = [c for c in held if c.measured.size_mb <= smallest_mb * (1 + config.size_tie)]
    return max(equal, key=lambda c: (c.ndcg, -c.measured.size_mb), default=reference)


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Evaluated candidates that no other beats in accuracy, size and latency at once."""
    evaluated = [c for c in candidates if c.ndcg == c.ndcg]  # NaN is no accuracy
    points = [(-c.ndcg, c.measured.size_mb, c.measured.p50_ms) for c in evaluated]
    return [c for c, front in zip(evaluated, is_on_front(points), strict=True) if front]


def violated_bounds(
    candidate: Candidate, reference: Candidate, config: CompressionConfig
) -> tuple[str, ...]:
    """Each bound that a candidate breaks, as a sentence; empty if it holds.

    Args:
        candidate: Who is judged; what was not evaluated has no accuracy to judge.
        reference: Whose accuracy may not be lost.
        config: The bounds.
    """
    reasons = list(violated_cost_bounds(candidate.measured, config))
    if candidate.judged is not None:
        lost = reference.ndcg - candidate.ndcg
        if not lost <= config.max_ndcg_loss:
            reasons.append(f"loses {lost:.4f} NDCG@10, more than {config.max_ndcg_loss:g}")
        reasons += [candidate.judged.refused] if candidate.judged.refused else []
    return tuple(reasons)


def violated_cost_bounds(measured: BundleCost, config: CompressionConfig) -> tuple[str, ...]:
    """Bounds on size and latency that are broken, as sentences."""
    told = []
    if measured.size_mb > config.max_size_mb:
        told.append(f"{measured.size_mb:.2f} MB, more than {config.max_size_mb:g}")
    if measured.p50_ms > config.max_latency_ms:
        told.append(f"{measured.p50_ms:.2f} ms a query, more than {config.max_latency_ms:g}")
    return tuple(told)


def rejection_reason(
    candidate: Candidate, candidates: Sequence[Candidate], config: CompressionConfig
) -> str:
    """Why a candidate was not chosen; empty for the chosen one."""
    chosen = select_candidate(candidates, config)
    if candidate is chosen:
        return ""
    reasons = violated_bounds(candidate, candidates[0], config)
    if reasons:
        return "; ".join(reasons)
    if candidate.judged is None:
        return f"larger than {chosen.name}; not evaluated"
    larger = candidate.measured.size_mb > chosen.measured.size_mb * (1 + config.size_tie)
    return f"larger than {chosen.name}" if larger else f"no better than {chosen.name}"


def selection_reason(candidates: Sequence[Candidate], config: CompressionConfig) -> str:
    """Why the chosen candidate was chosen; if nothing holds, what each one breaks."""
    reference, chosen = candidates[0], select_candidate(candidates, config)
    if not violated_bounds(chosen, reference, config):
        return f"{chosen.name} is the smallest within the objective"
    told = [f"{c.name}: {'; '.join(violated_bounds(c, reference, config))}" for c in candidates]
    return f"Nothing meets the objective, {reference.name} is kept. " + ". ".join(told)
