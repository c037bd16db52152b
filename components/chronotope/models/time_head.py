"""Time head: a mixture of lognormals for the hours from the last event to the next.

The gaps of the history are features of an MLP, and are copied into the weights of the mixture,

    logit_c(b) = mlp_c(x_b) + sum_k copy_weights_k log(1/5 + sum_l K_k(b, l) B_c(log gap_l))

where K are the gap kernels and B_c(log gap) is the share of a gap that falls to component c.
"""

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch
from chronotope.models.gap_features import (
    BIN_WIDTH,
    GAP_KERNELS,
    N_FEATURES,
    GapFeatures,
    bin_centers,
    gap_features,
)

FIRST_MEAN, LAST_MEAN = -3.0, 7.0
"""Initial means of the components in log hours: three minutes to six weeks."""


class TimeHead(nn.Module):
    """Layer that maps gap features to the parameters of a lognormal mixture."""

    component_means: Tensor
    bin_weights: Tensor

    def __init__(self, n_components: int, *, n_hidden: int = 64) -> None:
        """Build the layers."""
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(N_FEATURES, n_hidden),
            nn.GELU(),
            nn.Linear(n_hidden, n_hidden),
            nn.GELU(),
            nn.Linear(n_hidden, 3 * n_components),
        )
        self.copy_weights = nn.Parameter(torch.full((len(GAP_KERNELS), 1), 0.1))
        self.register_buffer("component_means", torch.linspace(FIRST_MEAN, LAST_MEAN, n_components))
        bin_weights = torch.exp(
            -0.5
            * ((self.component_means - bin_centers(self.component_means)[:, None]) / BIN_WIDTH) ** 2
        )
        self.register_buffer(
            "bin_weights", bin_weights / bin_weights.sum(1, keepdim=True)
        )  # (N_BINS, C)

    def forward(self, batch: Batch, recent: Batch) -> Tensor:
        """Log-weights, means and log-scales of log hours, shape (B, 3, n_components).

        Args:
            batch: B queries; only their histories are read.
            recent: The queries with their latest events.
        """
        return self.mixture(gap_features(batch, recent))

    def mixture(self, features: GapFeatures) -> Tensor:
        """Mixture parameters from precomputed gap features, shape (B, 3, n_components)."""
        mlp_output = self.mlp(features.features)
        parameters = mlp_output.view(mlp_output.shape[0], 3, -1)  # (B, 3, C)
        logits, mean, log_scale = parameters.unbind(1)  # each (B, C)
        copied_logits = (  # (B, C), a sum over the K gap kernels
            torch.log(features.gap_counts @ self.bin_weights + 0.2) * self.copy_weights
        ).sum(1)
        return torch.stack(
            [
                torch.log_softmax(logits + copied_logits, 1),
                mean + self.component_means,
                log_scale.clamp(-4.0, 3.0),
            ],
            dim=1,
        )
