"""Size and shape of the product's own model."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Backbone = Literal["none", "gru", "lstm", "rnn", "transformer"]


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
    backbone: Backbone = Field("none", description="Sequence model beside the kernels.")
    backbone_len: int = Field(32, ge=2, le=512, description="Latest events the backbone reads.")
    d_model: int = Field(32, ge=4, le=512, description="Width of embeddings and backbone.")
    dropout: float = Field(
        0.2, ge=0.0, lt=1.0, description="Dropout before and after the backbone."
    )
    n_components: int = Field(16, ge=1, le=64, description="Lognormals in the mixture of *when*.")
