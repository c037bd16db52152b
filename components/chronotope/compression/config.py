"""Configuration of compression: candidates to try, and bounds of their accuracy and cost."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Variant = Literal[
    "float32",
    "exact_tables",
    "fp16_tables",
    "int8_tables",
    "int8_matmul",
    "int8_gather",
    "int4_gather",
    "pq_gather",
]
"""Storage variant of a network's exported graph."""


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
