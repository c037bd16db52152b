"""Recipe of a compression candidate: network, size of its tables, storage variant."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from chronotope.compression.config import CompressionConfig, Variant

NetworkKind = Literal["full", "narrow", "student"]


class Recipe(BaseModel):
    """One combination of compression techniques.

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
    n_successors: int = Field(0, ge=0, description="Entries of each row of the priors; 0: all.")
    n_codes: int = Field(
        0, ge=0, le=256, multiple_of=2, description="Bytes an item of its index; 0: no index."
    )
    rerank: bool = Field(
        False, description="Store the residuals of the codes, too, to rank the best again."
    )
    variant: Variant = Field("float32", description="Storage of the graph.")

    @property
    def network_name(self) -> str:
        """Name of the network; equal names are one network, trained once."""
        name_parts = [
            self.network,
            f"u{100 * self.removed_units:.0f}" if self.network == "narrow" else "",
            f"h{self.history_len}-w{self.n_hidden}" if self.network == "student" else "",
            f"zero{100 * self.zero_weights:.0f}" if self.zero_weights else "",
        ]
        return "-".join(name_part for name_part in name_parts if name_part)

    @property
    def graph_name(self) -> str:
        """Name of the exported graph; variants are derived from one file."""
        successors_suffix = f"-top{self.n_successors}" if self.n_successors else ""
        index_suffix = "-index" if self.n_codes else ""
        return f"{self.network_name}{successors_suffix}{index_suffix}"

    @property
    def model_name(self) -> str:
        """Name of graph and index before the graph is stored in fewer bits."""
        rerank_suffix = "-rerank" if self.n_codes and self.rerank else ""
        return f"{self.graph_name}{self.n_codes or ''}{rerank_suffix}"

    @property
    def name(self) -> str:
        """Name of the candidate and of its folder."""
        return f"{self.model_name}-{self.variant}"

    @property
    def behaviour(self) -> str:
        """Name shared by candidates with equal outputs: exact tables change nothing."""
        is_lossless = self.variant == "exact_tables"
        variant_name: Variant = "float32" if is_lossless else self.variant
        return f"{self.model_name}-{variant_name}"


REFERENCE = Recipe()
"""The network as it was trained and exported."""


INDEXED_VARIANTS: tuple[Variant, ...] = ("fp16_tables", "int8_tables")
"""Storage of the graph beside an index; its matrix products are small."""


def indexed_recipes(config: CompressionConfig) -> tuple[Recipe, ...]:
    """Recipes of a large catalogue, the reference first."""
    successor_counts = (0, config.successors) if config.successors else (0,)
    rerank_options = (False, True) if config.index_rerank else (False,)
    return (
        REFERENCE,
        *(
            Recipe(n_codes=n_codes, rerank=rerank, n_successors=n_successors, variant=variant)
            for rerank in rerank_options
            for n_codes in config.index_codes
            for n_successors in successor_counts
            for variant in INDEXED_VARIANTS
        ),
    )


def fixed_recipes(config: CompressionConfig, history_len: int) -> tuple[Recipe, ...]:
    """Recipes that are always tried, the reference first.

    Args:
        config: Variants, and the sizes of the smaller networks.
        history_len: Events that the trained network reads; a student reads no more.
    """
    network_recipes = [Recipe()]
    if config.successors > 0:
        network_recipes.append(Recipe(n_successors=config.successors))
    if config.pruned_weights > 0:
        network_recipes.append(Recipe(zero_weights=config.pruned_weights))
    if config.pruned_units > 0:
        network_recipes.append(Recipe(network="narrow", removed_units=config.pruned_units))
    if config.student:
        student_history_len = min(config.student_history_len, history_len)
        network_recipes.append(
            Recipe(
                network="student",
                history_len=student_history_len,
                n_hidden=config.student_hidden,
            )
        )
    other_variants = (variant for variant in config.variants if variant != "float32")
    variants: tuple[Variant, ...] = ("float32", *other_variants)
    return tuple(
        network_recipe.model_copy(update={"variant": variant})
        for network_recipe in network_recipes
        for variant in variants
    )
