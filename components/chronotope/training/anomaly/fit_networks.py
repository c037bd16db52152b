"""Training of the autoencoder and of the GAN by Lightning, on standardised features."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional

from chronotope.contracts.event_log import Float32
from chronotope.models.anomaly import BehaviourAutoencoder, BehaviourBigan
from chronotope.training.anomaly.config import NetworkConfig
from chronotope.training.trainer import make_trainer


def fit_autoencoder(features: Float32, config: NetworkConfig) -> BehaviourAutoencoder:
    """Train a denoising autoencoder.

    Args:
        features: Standardised features, shape (n, n_features).
        config: Widths, noise and passes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = BehaviourAutoencoder(features.shape[1], config.n_hidden, config.n_latent)
        _train(AutoencoderModule(network, config), features, config)
    return network


def fit_bigan(features: Float32, config: NetworkConfig) -> BehaviourBigan:
    """Train encoder and generator against the discriminator; arguments as above."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = BehaviourBigan(features.shape[1], 2 * config.n_hidden, config.n_latent)
        _train(BiganModule(network, config), features, config)
    return network


@dataclass(frozen=True, slots=True)
class ShuffledBatches:
    """Rows in a new order each pass; a loader would copy them one by one.

    Attributes:
        features: Shape (n, F).
        batch_size: Rows of a batch; the last one may be smaller.
    """

    features: Tensor
    batch_size: int

    def __len__(self) -> int:
        """Number of batches of a pass."""
        return -(-len(self.features) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        """The batches of one pass."""
        for row_idx in torch.split(torch.randperm(len(self.features)), self.batch_size):
            yield self.features[row_idx]


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


def _train(module: lightning.LightningModule, features: Float32, config: NetworkConfig) -> None:
    """Train for the configured number of passes; there is nothing to select an epoch by."""
    lightning_trainer = make_trainer(
        [],
        config.n_epochs,
        accelerator="cpu",
        progress=False,
        max_gradient_norm=1.0 if module.automatic_optimization else None,
        enable_checkpointing=False,
    )
    shuffled_batches = ShuffledBatches(torch.from_numpy(features), config.batch_size)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*isinstance\\(treespec.*")
        warnings.filterwarnings("ignore", message=".*`training_step` returned `None`.*")
        lightning_trainer.fit(module, shuffled_batches)
    module.eval()
