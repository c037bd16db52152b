"""Settings of the networks that reconstruct behaviour."""

from pydantic import BaseModel, ConfigDict, Field


class NetworkConfig(BaseModel):
    """Autoencoder and GAN: width, noise and passes.

    The defaults were chosen on payments of May to July 2018, before the weeks of the benchmark.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_hidden: int = Field(32, ge=2, le=512, description="Width of the hidden layers")
    n_latent: int = Field(2, ge=1, le=64, description="Width of the code between them")
    n_epochs: int = Field(8, ge=1, le=200, description="Passes over the training events")
    batch_size: int = Field(256, ge=8, description="Events of a step")
    learning_rate: float = Field(2e-3, gt=0, le=1, description="Step of Adam; the GAN takes half")
    noise: float = Field(0.3, ge=0, le=5, description="Noise on the inputs, standard deviations")
    masked_share: float = Field(0.2, ge=0, lt=1, description="Share of the inputs set to 0")
    max_deviations: float = Field(
        8.0, ge=1, description="Standard deviations at which features are clipped"
    )
    seed: int = Field(0, ge=0, description="Random seed")
