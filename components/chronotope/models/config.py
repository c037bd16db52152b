"""Configuration of the network: families, sizes and switches."""

from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chronotope.contracts.event_log import Catalog

BackboneKind = Literal["none", "rnn", "lstm", "gru", "transformer", "hstu", "two_tower", "lightgcn"]

BACKBONES: tuple[BackboneKind, ...] = get_args(BackboneKind)

MIN_REPEAT_SHARE = 0.005
"""Share of repeated items in a log from which the kernels of the repeat head are worth their cost:
four fifths of a training step."""


class ModelConfig(BaseModel):
    """Hyper-parameters of ``ChronotopeNet``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    history_len: int = Field(
        1024, ge=4, le=8192, description="Latest events of a history that the model counts."
    )
    kernel_len: int = Field(
        256, ge=4, le=4096, description="Latest events that the space-time kernels read."
    )
    n_hidden: int = Field(64, ge=4, le=512, description="Hidden units of the repeat head.")
    kernels: bool = Field(
        True, description="Kernels and priors; without them the backbone and popularity alone."
    )
    repeat_kernels: bool | None = Field(
        None,
        description="Score the items of a history by all kernels and a network over them, not by "
        "their counts alone; null: where the log has repeats, or places that are no items.",
    )
    category_head: bool = Field(
        False,
        description="Score categories from the context and the last category; needs kernels.",
    )
    content: bool = Field(
        True,
        description="Score items by their content vectors, if the catalogue has any; needs "
        "kernels.",
    )
    modalities: tuple[str, ...] = Field(
        (), description="Kinds of content that the model reads, e.g. text; empty reads all."
    )
    backbone: BackboneKind = Field("none", description="Learned model next to the kernels.")
    n_layers: int = Field(1, ge=1, le=8, description="Layers of the backbone.")
    backbone_len: int = Field(32, ge=2, le=512, description="Latest events the backbone reads.")
    d_model: int = Field(
        32, ge=4, le=512, multiple_of=2, description="Width of embeddings and backbone."
    )
    dropout: float = Field(
        0.2, ge=0.0, lt=1.0, description="Dropout before and after the backbone."
    )
    context: tuple[str, ...] = Field(
        (), description="Context columns of the request that the model reads, e.g. the weather."
    )
    item_context: tuple[str, ...] = Field(
        (), description="Columns of the item context that the model reads, e.g. the promotion."
    )
    n_components: int = Field(16, ge=1, le=64, description="Lognormal components of the time head.")

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if not self.kernels and self.backbone == "none":
            raise ValueError("A model without kernels needs a backbone: set one, or kernels: true")
        if not self.kernels and self.category_head:
            raise ValueError(
                "The category head needs kernels: set kernels: true, or category_head: false"
            )
        return self

    @property
    def scores_repeats(self) -> bool:
        """Whether all kernels score the items of a history; undecided means yes."""
        return self.kernels and self.repeat_kernels is not False

    def decided_by(self, repeat_share: float, catalog: Catalog) -> Self:
        """These settings with what is left open decided by the log that a network learns from.

        Args:
            repeat_share: Share of its events that repeat an item of the same user.
            catalog: Its items and places.
        """
        if self.repeat_kernels is not None:
            return self
        places_are_items = catalog.items_are_places or catalog.n_places <= 1
        needed = not places_are_items or repeat_share >= MIN_REPEAT_SHARE
        return self.model_copy(update={"repeat_kernels": needed})

    @property
    def family(self) -> str:
        """Name of the model in tables, such as "chronotope+gru"."""
        if not self.kernels:
            return self.backbone
        backbone = [self.backbone] if self.backbone != "none" else []
        category_head = ["category_head"] if self.category_head else []
        return "+".join(["chronotope", *backbone, *category_head])
