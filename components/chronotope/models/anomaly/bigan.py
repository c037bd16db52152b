"""Bidirectional GAN over standardised behaviour features.

Source: Donahue, Krähenbühl, Darrell, "Adversarial feature learning", ICLR 2017; used for anomalies
by Zenati et al., "Efficient GAN-based anomaly detection", 2018: the score is the error of
G(E(x)) plus the difference of the discriminator's features of x and of G(E(x)).
"""

import torch
from torch import Tensor, nn

_SLOPE = 0.1


class BehaviourBigan(nn.Module):
    """Encoder, generator, and a discriminator of pairs (features, code)."""

    def __init__(self, n_features: int, n_hidden: int, n_latent: int) -> None:
        """Make the layers; arguments as of the autoencoder."""
        super().__init__()
        self.n_latent = n_latent
        self.encoder = _layers(n_features, n_hidden, n_latent)
        self.generator = _layers(n_latent, n_hidden, n_features)
        self.discriminator = _layers(n_features + n_latent, n_hidden, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruction G(E(x)), shape (B, n_features)."""
        reconstruction: Tensor = self.generator(self.encoder(features))
        return reconstruction

    def judge(self, features: Tensor, code: Tensor) -> Tensor:
        """Logit that a pair came from data and encoder, shape (B,)."""
        logit: Tensor = self.discriminator(torch.cat([features, code], dim=1))[:, 0]
        return logit


def _layers(n_inputs: int, n_hidden: int, n_outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_inputs, n_hidden),
        nn.LeakyReLU(_SLOPE),
        nn.Linear(n_hidden, n_hidden),
        nn.LeakyReLU(_SLOPE),
        nn.Linear(n_hidden, n_outputs),
    )
