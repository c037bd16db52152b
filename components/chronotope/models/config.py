"""Size and shape of the product's own model."""

from typing import Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

BackboneKind = Literal["none", "rnn", "lstm", "gru", "transformer", "hstu", "mlp", "graph"]

BACKBONES: tuple[BackboneKind, ...] = get_args(BackboneKind)


class ModelConfig(BaseModel):
    """Hyper-parameters of ``ChronotopeNet``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    history_len: int = Field(
        1024, ge=4, le=8192, description="Events of the past the model counts."
    )
    kernel_len: int = Field(
        256, ge=4, le=4096, description="Latest events that space-time kernels look at."
    )
    n_hidden: int = Field(32, ge=4, le=512, description="Width of the gates over kernels.")
    kernels: bool = Field(
        True, description="Kernels and priors; without them a backbone and popularity alone."
    )
    kinds: bool = Field(
        False, description="Beside kernels: score categories by the context and the last one."
    )
    backbone: BackboneKind = Field("none", description="Learned model beside the kernels.")
    n_layers: int = Field(1, ge=1, le=8, description="Layers of the backbone.")
    backbone_len: int = Field(32, ge=2, le=512, description="Latest events the backbone reads.")
    d_model: int = Field(
        32, ge=4, le=512, multiple_of=2, description="Width of embeddings and backbone."
    )
    dropout: float = Field(
        0.2, ge=0.0, lt=1.0, description="Dropout before and after the backbone."
    )
    context: tuple[str, ...] = Field(
        (), description="Columns of the request's context, such as the weather, it listens to."
    )
    n_components: int = Field(16, ge=1, le=64, description="Lognormals in the mixture of *when*.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.kernels and self.backbone == "none":
            raise ValueError("A model without kernels needs a backbone: set one, or kernels: true")
        if not self.kernels and self.kinds:
            raise ValueError("Kinds stand beside kernels: set kernels: true, or kinds: false")
        return self

    @property
    def family(self) -> str:
        """Name of the model in tables: its kernels, and what stands beside them."""
        if not self.kernels:
            return self.backbone
        beside = [self.backbone] if self.backbone != "none" else []
        return "+".join(["chronotope", *beside, *(["kinds"] if self.kinds else [])])
