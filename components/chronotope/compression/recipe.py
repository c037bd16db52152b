"""How a candidate is made: which network, how much of the tables, in which bits."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from chronotope.compression.graph_variants import Variant
from chronotope.compression.selection import CompressionConfig

NetworkKind = Literal["full", "narrow", "student"]


class Recipe(BaseModel):
    """One combination of what compression can do.

    Example:
        >>> Recipe(network="student", history_len=64, n_hidden=12, variant="int8_tables").name
        'student-h64-w12-int8_tables'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: NetworkKind = Field("full", description="As trained, with fewer units, or a student.")
    removed_units: float = Field(0.0, ge=0, lt=1, description="Of a narrow network: share removed.")
    history_len: int = Field(0, ge=0, description="Of a student: events it reads.")
    n_hidden: int = Field(0, ge=0, description="Of a student: width of its gates.")
    zero_weights: float = Field(0.0, ge=0, lt=1, description="Share of weights set to zero.")
    n_successors: int = Field(0, ge=0, description="Entries kept a row of the priors; 0: all.")
    n_codes: int = Field(
        0, ge=0, le=256, multiple_of=2, description="Bytes an item of its index; 0: has none."
    )
    rerank: bool = Field(
        False, description="Keep what the codes leave out as well, to rank the best again."
    )
    variant: Variant = Field("float32", description="How the graph is stored.")

    @property
    def network_name(self) -> str:
        """Name of the network; equal names are one network, trained once."""
        parts = [
            self.network,
            f"u{100 * self.removed_units:.0f}" if self.network == "narrow" else "",
            f"h{self.history_len}-w{self.n_hidden}" if self.network == "student" else "",
            f"zero{100 * self.zero_weights:.0f}" if self.zero_weights else "",
        ]
        return "-".join(part for part in parts if part)

    @property
    def graph_name(self) -> str:
        """Name of the exported graph; variants are derived from one file."""
        cut = f"-top{self.n_successors}" if self.n_successors else ""
        asks = "-index" if self.n_codes else ""
        return f"{self.network_name}{cut}{asks}"

    @property
    def answering_name(self) -> str:
        """Name of graph and index before the graph is stored in fewer bits."""
        again = "-rerank" if self.n_codes and self.rerank else ""
        return f"{self.graph_name}{self.n_codes or ''}{again}"

    @property
    def name(self) -> str:
        """Name of the candidate and of its folder."""
        return f"{self.answering_name}-{self.variant}"

    @property
    def behaviour(self) -> str:
        """Equal for candidates that answer alike: tables narrowed without loss change nothing."""
        said: Variant = "float32" if self.variant == "exact_tables" else self.variant
        return f"{self.answering_name}-{said}"


REFERENCE = Recipe()
"""The network as it was trained and exported."""


INDEXED: tuple[Variant, ...] = ("fp16_tables", "int8_tables")
"""How the graph beside an index is stored; its products are small."""


def indexed_recipes(config: CompressionConfig) -> tuple[Recipe, ...]:
    """What is tried of a large catalogue, the reference first."""
    cuts = (0, config.successors) if config.successors else (0,)
    return (
        REFERENCE,
        *(
            Recipe(n_codes=codes, rerank=rerank, n_successors=cut, variant=variant)
            for rerank in ((False, True) if config.index_rerank else (False,))
            for codes in config.index_codes
            for cut in cuts
            for variant in INDEXED
        ),
    )


def fixed_recipes(config: CompressionConfig, history_len: int) -> tuple[Recipe, ...]:
    """What is always tried, the reference first.

    Args:
        config: Variants, and the shape of the smaller networks.
        history_len: Events that the trained network reads; a student reads no more.
    """
    networks = [Recipe()]
    if config.successors > 0:
        networks.append(Recipe(n_successors=config.successors))
    if config.pruned_weights > 0:
        networks.append(Recipe(zero_weights=config.pruned_weights))
    if config.pruned_units > 0:
        networks.append(Recipe(network="narrow", removed_units=config.pruned_units))
    if config.student:
        read = min(config.student_history_len, history_len)
        shape = {"history_len": read, "n_hidden": config.student_hidden}
        networks.append(Recipe(network="student", **shape))
    variants: tuple[Variant, ...] = ("float32", *(v for v in config.variants if v != "float32"))
    return tuple(
        network.model_copy(update={"variant": variant})
        for network in networks
        for variant in variants
    )
