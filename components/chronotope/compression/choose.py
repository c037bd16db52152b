"""Which candidate to ship: the smallest that loses next to nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from chronotope.compression.int8 import Variant
from chronotope.compression.measure import Measured
from chronotope.contracts.errors import ArtifactError


class CompressionConfig(BaseModel):
    """What is tried and what it may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_ndcg_loss: float = Field(
        0.01, ge=0.0, le=1.0, description="NDCG@10 that may be lost, absolute."
    )
    max_p50_ms: float = Field(50.0, gt=0.0, description="Median latency of one query at most.")
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
    n_runs: int = Field(200, ge=1, le=100_000, description="Queries timed a candidate.")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One bundle that could be shipped.

    Attributes:
        name: Network and variant.
        folder: The bundle.
        ndcg: NDCG@10 by the caller's evaluation.
        measured: Size and latency.
    """

    name: str
    folder: Path
    ndcg: float
    measured: Measured


def choose(candidates: Sequence[Candidate], config: CompressionConfig) -> Candidate:
    """The smallest candidate within the bounds on accuracy and latency.

    Among sizes that count as equal the most accurate wins: a few bytes are not worth
    accuracy. The first candidate is the reference; it is the answer when no other one holds.

    Raises:
        ArtifactError: There is no candidate.
    """
    if not candidates:
        raise ArtifactError("There is no candidate to choose from")
    reference = candidates[0]
    held = [c for c in candidates if holds(c, reference, config)]
    smallest_mb = min((c.measured.size_mb for c in held), default=0.0)
    equal = [c for c in held if c.measured.size_mb <= smallest_mb * (1 + config.size_tie)]
    return max(equal, key=lambda c: (c.ndcg, -c.measured.size_mb), default=reference)


def holds(candidate: Candidate, reference: Candidate, config: CompressionConfig) -> bool:
    """Whether a candidate is within the bounds on accuracy and latency."""
    return (
        candidate.ndcg >= reference.ndcg - config.max_ndcg_loss
        and candidate.measured.p50_ms <= config.max_p50_ms
    )
