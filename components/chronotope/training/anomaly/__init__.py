"""Training of the networks that detect anomalies.

fit_autoencoder: Denoising autoencoder over behaviour features.
fit_bigan: Encoder, generator and discriminator, trained against each other.
"""

from chronotope.training.anomaly.config import NetworkConfig
from chronotope.training.anomaly.fit_networks import fit_autoencoder, fit_bigan

__all__ = ["NetworkConfig", "fit_autoencoder", "fit_bigan"]
