"""Selection of the candidate to ship: the smallest that meets the objective, with reasons."""

import math
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
    """Candidates to try, and the bounds of their accuracy and cost (service-level objective)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_ndcg_loss: float = Field(
        0.01, ge=0.0, le=1.0, description="Maximum loss of NDCG@10, absolute."
    )
    max_latency_ms: float = Field(
        50.0, gt=0.0, description="Maximum median latency of one query, one thread."
    )
    max_size_mb: float = Field(
        200.0, gt=0.0, description="Maximum size of graph and index, in 10^6 bytes."
    )
    size_tie: float = Field(
        0.02, ge=0.0, le=1.0, description="Relative difference up to which sizes count as equal."
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
        description="Also try the trained network with this number of successors of each item in "
        "its tables; 0 skips it.",
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
        description="Bytes an item of the indexes to try: even numbers up to 256. More bytes "
        "are more accurate, and slower.",
    )
    index_rerank: bool = Field(
        True,
        description="Also try each index with the residuals of its codes on disk, to rank the "
        "best again: larger, more accurate, hardly slower.",
    )
    n_runs: int = Field(200, ge=1, le=100_000, description="Queries timed for each candidate.")
    n_trials: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Total number of candidates. Above the number of fixed ones a search adds "
        "further candidates along the Pareto front; 0 tries the fixed ones alone.",
    )
    timeout_s: float | None = Field(
        None, gt=0, description="Start no candidate of the search after this time, in seconds."
    )
    seed: int = Field(0, ge=0, description="Seed of the search.")


@dataclass(frozen=True, slots=True)
class CandidateEvaluation:
    """Accuracy of a candidate, and its cost under load.

    Attributes:
        ndcg: NDCG@10 by the caller's evaluation.
        acc: Acc@10 by the same.
        load: Batch latency and memory.
        refused: Reason why it may not be shipped however accurate it is; empty if it may.
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
        bundle_dir: Folder of the bundle.
        cost: Size and latency.
        evaluation: None if it was not evaluated, because it could no longer be selected.
    """

    name: str
    bundle_dir: Path
    cost: BundleCost
    evaluation: CandidateEvaluation | None

    @property
    def ndcg(self) -> float:
        """NDCG@10; NaN if it was not evaluated."""
        return float("nan") if self.evaluation is None else self.evaluation.ndcg


def select_candidate(candidates: Sequence[Candidate], config: CompressionConfig) -> Candidate:
    """The smallest candidate on the Pareto front of those that break no bound.

    Among sizes that count as equal the most accurate is selected. The first candidate is the
    reference, selected if every other breaks a bound.

    Raises:
        ArtifactError: There is no candidate.
    """
    if not candidates:
        raise ArtifactError("There is no candidate to choose from")
    reference = candidates[0]
    within_bounds = [
        candidate for candidate in candidates if not violated_bounds(candidate, reference, config)
    ]
    front = pareto_front(within_bounds)
    min_size_mb = min((candidate.cost.size_mb for candidate in front), default=0.0)
    max_size_mb = min_size_mb * (1 + config.size_tie)
    smallest = [candidate for candidate in front if candidate.cost.size_mb <= max_size_mb]
    return max(
        smallest,
        key=lambda candidate: (candidate.ndcg, -candidate.cost.size_mb),
        default=reference,
    )


def pareto_front(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Evaluated candidates that no other dominates in accuracy, size and latency."""
    evaluated = [candidate for candidate in candidates if not math.isnan(candidate.ndcg)]
    costs = [
        (-candidate.ndcg, candidate.cost.size_mb, candidate.cost.p50_ms) for candidate in evaluated
    ]
    return [
        candidate
        for candidate, on_front in zip(evaluated, is_on_front(costs), strict=True)
        if on_front
    ]


def violated_bounds(
    candidate: Candidate, reference: Candidate, config: CompressionConfig
) -> tuple[str, ...]:
    """Each bound that a candidate breaks, as a sentence; empty if it meets the objective.

    Args:
        candidate: The candidate; without an evaluation only its costs are checked.
        reference: The candidate whose accuracy is the baseline of the loss.
        config: The bounds.
    """
    reasons = list(violated_cost_bounds(candidate.cost, config))
    if candidate.evaluation is not None:
        ndcg_loss = reference.ndcg - candidate.ndcg
        if not ndcg_loss <= config.max_ndcg_loss:  # NaN breaks the bound
            reasons.append(f"loses {ndcg_loss:.4f} NDCG@10, more than {config.max_ndcg_loss:g}")
        reasons += [candidate.evaluation.refused] if candidate.evaluation.refused else []
    return tuple(reasons)


def violated_cost_bounds(cost: BundleCost, config: CompressionConfig) -> tuple[str, ...]:
    """Each bound on size and latency that a cost breaks, as a sentence."""
    reasons = []
    if cost.size_mb > config.max_size_mb:
        reasons.append(f"{cost.size_mb:.2f} MB, more than {config.max_size_mb:g}")
    if cost.p50_ms > config.max_latency_ms:
        reasons.append(f"{cost.p50_ms:.2f} ms a query, more than {config.max_latency_ms:g}")
    return tuple(reasons)


def rejection_reason(
    candidate: Candidate, candidates: Sequence[Candidate], config: CompressionConfig
) -> str:
    """Reason why a candidate was not selected; empty for the selected one."""
    selected = select_candidate(candidates, config)
    if candidate is selected:
        return ""
    reasons = violated_bounds(candidate, candidates[0], config)
    if reasons:
        return "; ".join(reasons)
    if candidate.evaluation is None:
        return f"larger than {selected.name}; not evaluated"
    is_larger = candidate.cost.size_mb > selected.cost.size_mb * (1 + config.size_tie)
    return f"larger than {selected.name}" if is_larger else f"no better than {selected.name}"


def selection_reason(candidates: Sequence[Candidate], config: CompressionConfig) -> str:
    """Reason of the selection; if nothing meets the objective, the bounds each one breaks."""
    reference, selected = candidates[0], select_candidate(candidates, config)
    if not violated_bounds(selected, reference, config):
        return f"{selected.name} is the smallest within the objective"
    broken_bounds = [
        f"{candidate.name}: {'; '.join(violated_bounds(candidate, reference, config))}"
        for candidate in candidates
    ]
    return f"Nothing meets the objective, {reference.name} is selected. " + ". ".join(broken_bounds)
