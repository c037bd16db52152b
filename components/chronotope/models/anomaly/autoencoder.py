"""Autoencoder over standardised behaviour features."""

from torch import Tensor, nn


class BehaviourAutoencoder(nn.Module):
    """Reconstructs the features of an event from a code that is much narrower.

    Typical behaviour fits through the code, atypical behaviour does not: the error of the
    reconstruction is the score. A wide code reconstructs anomalies as well.
    """

    def __init__(self, n_features: int, n_hidden: int, n_latent: int) -> None:
        """Make the layers.

        Args:
            n_features: Number of features.
            n_hidden: Width of the hidden layers.
            n_latent: Width of the code.
        """
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(n_features, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_latent)
        )
        self.decoder = nn.Sequential(
            nn.Linear(n_latent, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_features)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Reconstruction of standardised features, shape (B, n_features)."""
        reconstruction: Tensor = self.decoder(self.encoder(features))
        return reconstruction
