"""Lightning modules of the autoencoder and of the GAN."""

from typing import cast

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from chronotope.models.anomaly import BehaviourAutoencoder, BehaviourBigan
from chronotope.training.anomaly.config import NetworkConfig


class AutoencoderModule(lightning.LightningModule):
    """Huber loss between the reconstruction from noisy, partly masked features and the features."""

    def __init__(self, network: BehaviourAutoencoder, config: NetworkConfig) -> None:
        """Wrap a network."""
        super().__init__()
        self.network, self.config = network, config

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """Loss of a batch."""
        del batch_idx
        features = batch  # (B, F)
        is_visible = torch.rand_like(features) >= self.config.masked_share
        noisy_features = features + self.config.noise * torch.randn_like(features)
        return functional.huber_loss(self.network(noisy_features * is_visible), features)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam."""
        return torch.optim.Adam(self.network.parameters(), self.config.learning_rate)


class BiganModule(lightning.LightningModule):
    """Alternating steps of the discriminator, and of encoder and generator together.

    Encoder and generator also minimise the error of the reconstruction: without it, G(E(x)) drifts
    from x, and the score becomes noise.
    """

    def __init__(self, network: BehaviourBigan, config: NetworkConfig) -> None:
        """Wrap a network."""
        super().__init__()
        self.network, self.config = network, config
        self.automatic_optimization = False

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        """One step of each side."""
        del batch_idx
        features = batch  # (B, F)
        network = self.network
        judge_optimizer, maker_optimizer = cast("list[LightningOptimizer]", self.optimizers())
        drawn_code = torch.randn(len(features), network.n_latent)  # (B, L)
        latent_code, generated_features = network.encoder(features), network.generator(drawn_code)
        judge_loss = (
            functional.softplus(-network.judge(features, latent_code.detach())).mean()
            + functional.softplus(network.judge(generated_features.detach(), drawn_code)).mean()
        )
        self._step(judge_optimizer, judge_loss)
        maker_loss = (
            functional.softplus(network.judge(features, latent_code)).mean()
            + functional.softplus(-network.judge(generated_features, drawn_code)).mean()
            + functional.huber_loss(network.generator(latent_code), features)
        )
        self._step(maker_optimizer, maker_loss)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam for the discriminator, and for encoder and generator."""
        half_rate, network = self.config.learning_rate / 2, self.network
        maker_parameters = [*network.encoder.parameters(), *network.generator.parameters()]
        return [
            torch.optim.Adam(network.discriminator.parameters(), half_rate, betas=(0.5, 0.999)),
            torch.optim.Adam(maker_parameters, half_rate, betas=(0.5, 0.999)),
        ]

    def _step(self, optimizer: LightningOptimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
