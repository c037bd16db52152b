"""Selection of the candidate to ship: the smallest that meets the objective, with reasons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chronotope.compression.bundle_cost import BundleCost, LoadCost
from chronotope.compression.config import CompressionConfig
from chronotope.compression.pareto_front import is_on_front
from chronotope.contracts.errors import ArtifactError


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
    reason_texts = list(violated_cost_bounds(candidate.cost, config))
    if candidate.evaluation is not None:
        ndcg_loss = reference.ndcg - candidate.ndcg
        if not ndcg_loss <= config.max_ndcg_loss:  # NaN breaks the bound
            reason_texts.append(
                f"loses {ndcg_loss:.4f} NDCG@10, more than {config.max_ndcg_loss:g}"
            )
        reason_texts += [candidate.evaluation.refused] if candidate.evaluation.refused else []
    return tuple(reason_texts)


def violated_cost_bounds(cost: BundleCost, config: CompressionConfig) -> tuple[str, ...]:
    """Each bound on size and latency that a cost breaks, as a sentence."""
    reason_texts = []
    if cost.size_mb > config.max_size_mb:
        reason_texts.append(f"{cost.size_mb:.2f} MB, more than {config.max_size_mb:g}")
    if cost.p50_ms > config.max_latency_ms:
        reason_texts.append(f"{cost.p50_ms:.2f} ms a query, more than {config.max_latency_ms:g}")
    return tuple(reason_texts)


def rejection_reason(
    candidate: Candidate, candidates: Sequence[Candidate], config: CompressionConfig
) -> str:
    """Reason why a candidate was not selected; empty for the selected one."""
    selected = select_candidate(candidates, config)
    if candidate is selected:
        return ""
    reason_texts = violated_bounds(candidate, candidates[0], config)
    if reason_texts:
        return "; ".join(reason_texts)
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
