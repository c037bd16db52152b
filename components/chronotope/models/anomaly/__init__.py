"""Networks that detect anomalies: an autoencoder and a bidirectional GAN."""

from chronotope.models.anomaly.autoencoder import BehaviourAutoencoder
from chronotope.models.anomaly.bigan import BehaviourBigan

__all__ = ["BehaviourAutoencoder", "BehaviourBigan"]
