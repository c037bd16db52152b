"""Training of the autoencoder and of the GAN by Lightning, on standardised features."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from chronotope.contracts.event_log import Float32
from chronotope.models.anomaly import BehaviourAutoencoder, BehaviourBigan
from chronotope.training.anomaly.config import NetworkConfig

if TYPE_CHECKING:
    import lightning


def fit_autoencoder(features: Float32, config: NetworkConfig) -> BehaviourAutoencoder:
    """Train a denoising autoencoder.

    Args:
        features: Standardised features, shape (n, n_features).
        config: Widths, noise and passes.
    """
    from chronotope.training.anomaly.network_modules import AutoencoderModule  # imports Lightning

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = BehaviourAutoencoder(features.shape[1], config.n_hidden, config.n_latent)
        _train(AutoencoderModule(network, config), features, config)
    return network


def fit_bigan(features: Float32, config: NetworkConfig) -> BehaviourBigan:
    """Train encoder and generator against the discriminator; arguments as above."""
    from chronotope.training.anomaly.network_modules import BiganModule  # imports Lightning

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


def _train(module: "lightning.LightningModule", features: Float32, config: NetworkConfig) -> None:
    """Train for the configured number of passes; there is nothing to select an epoch by."""
    from chronotope.training.trainer import make_trainer

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
