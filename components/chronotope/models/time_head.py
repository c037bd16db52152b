"""When: a mixture of lognormals for the hours from the last event to the next.

The user's own past gaps are features of a small network, and are copied into the weights
of the mixture,

    logit_c(b) = mlp_c(x_b) + sum_k a_k log(1/5 + sum_l K_k(b, l) B_c(log gap_l))

where B_c says how near a gap is to the place of component c.
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
"""Log hours where the components start out: three minutes to six weeks."""


class TimeHead(nn.Module):
    """The head: what ``gap_features`` sees, to the parameters of the mixture."""

    place: Tensor
    near: Tensor

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
        self.copy = nn.Parameter(torch.full((len(GAP_KERNELS), 1), 0.1))
        self.register_buffer("place", torch.linspace(FIRST_MEAN, LAST_MEAN, n_components))
        near = torch.exp(-0.5 * ((self.place - bin_centers(self.place)[:, None]) / BIN_WIDTH) ** 2)
        self.register_buffer("near", near / near.sum(1, keepdim=True))  # (N_BINS, C)

    def forward(self, batch: Batch, recent: Batch) -> Tensor:
        """Log-weights, means and log-scales of log hours, shape (B, 3, n_components).

        Args:
            batch: The queries; only their histories are read.
            recent: The same with the latest events only.
        """
        return self.mixture(gap_features(batch, recent))

    def mixture(self, rhythm: GapFeatures) -> Tensor:
        """The same from what ``gap_features`` gave."""
        raw = self.mlp(rhythm.features)
        logits, mean, log_scale = raw.view(raw.shape[0], 3, -1).unbind(1)
        copied = (torch.log(rhythm.gaps @ self.near + 0.2) * self.copy).sum(1)
        return torch.stack(
            [
                torch.log_softmax(logits + copied, 1),
                mean + self.place,
                log_scale.clamp(-4.0, 3.0),
            ],
            dim=1,
        )
