"""Time head: a mixture of lognormals for the hours from the last event to the next.

The gaps of the history are features of an MLP, and are copied into the weights of the mixture,

    logit_c(b) = mlp_c(x_b) + sum_k copy_weights_k log(1/5 + sum_l K_k(b, l) B_c(log gap_l))

where K are the gap kernels and B_c(log gap) is the share of a gap that falls to component c.
Beside them stand narrow components at each of the next hours a,

    logit_a(b) = arrival_layer_a(hidden_b) + sum_p arrival_weights_p log(1/10 + arrivals_p(b, a))

where arrivals_p counts past events at the hour of the day or week that is a hours ahead. The
category of the last event and the sizes of the latest baskets are added to the first layer.
"""

import math

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch
from chronotope.models.gap_features import (
    BIN_WIDTH,
    GAP_KERNELS,
    N_FEATURES,
    N_LATEST,
    GapFeatures,
    bin_centers,
    gap_features,
)
from chronotope.models.inter_event.arrival_profile import N_AHEAD, PROFILES

FIRST_MEAN, LAST_MEAN = -3.0, 7.0
"""Initial means of the components in log hours: three minutes to six weeks."""

ARRIVAL_WIDTH_H = 0.6
"""Initial standard deviation of the component of an hour ahead, in hours."""

ARRIVAL_LOGIT = -3.0
"""Initial logit of the component of an hour ahead, where no past event is."""


class TimeHead(nn.Module):
    """Layer that maps gap features to the parameters of a lognormal mixture."""

    component_means: Tensor
    bin_weights: Tensor
    arrival_means: Tensor

    def __init__(self, n_components: int, n_categories: int = 1, *, n_hidden: int = 64) -> None:
        """Build the layers.

        Args:
            n_components: Free components; N_AHEAD stand beside them.
            n_categories: Categories of the items, the unknown included.
            n_hidden: Width of the hidden layers.
        """
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
        # Zeros draw no random numbers: the other layers of a network start as without them
        self.category_embedding = nn.Embedding(
            n_categories, n_hidden, _weight=torch.zeros(n_categories, n_hidden)
        )
        self.basket_layer = nn.Parameter(torch.zeros(N_LATEST, n_hidden))
        self.arrival_layer = nn.Parameter(torch.zeros(n_hidden, 2 * N_AHEAD))
        self.arrival_bias = nn.Parameter(torch.full((N_AHEAD,), ARRIVAL_LOGIT))
        self.arrival_weights = nn.Parameter(torch.full((len(PROFILES), 1), 0.2))
        self.register_buffer("arrival_means", torch.arange(1.0, N_AHEAD + 1).log())

    def forward(
        self, batch: Batch, last_category: Tensor, features: GapFeatures | None = None
    ) -> Tensor:
        """Log-weights, means and log-scales of log hours, shape (B, 3, n_components + N_AHEAD).

        Args:
            batch: B queries; only their histories are read.
            last_category: Category of the last item, int64, shape (B,); 0 if unknown.
            features: Gap features of the queries, if they were computed before.
        """
        return self.mixture(gap_features(batch) if features is None else features, last_category)

    def mixture(self, features: GapFeatures, last_category: Tensor) -> Tensor:
        """Mixture parameters from gap features, shape (B, 3, n_components + N_AHEAD).

        Args:
            features: Gap features of B queries.
            last_category: Category of the last item, int64, shape (B,); 0 if unknown.
        """
        first = self.mlp[0](features.features) + self.category_embedding(last_category)
        first = first + features.basket_sizes @ self.basket_layer
        hidden = self.mlp[1:4](first)  # (B, n_hidden)
        parameters = self.mlp[4](hidden).unflatten(1, (3, -1))  # (B, 3, C)
        free_components = self._free_components(parameters, features)
        arrivals = self._arrival_components(hidden, features.arrivals)
        logits, mean, log_scale = torch.cat([free_components, arrivals], dim=2).unbind(1)
        return torch.stack([torch.log_softmax(logits, 1), mean, log_scale], dim=1)

    def _free_components(self, parameters: Tensor, features: GapFeatures) -> Tensor:
        """Logits, means and log-scales, shape (B, 3, C)."""
        logits, mean, log_scale = parameters.unbind(1)  # each (B, C)
        copied_logits = (  # (B, C), a sum over the K gap kernels
            torch.log(features.gap_counts @ self.bin_weights + 0.2) * self.copy_weights
        ).sum(1)
        return torch.stack(
            [logits + copied_logits, mean + self.component_means, log_scale.clamp(-4.0, 3.0)],
            dim=1,
        )

    def _arrival_components(self, hidden: Tensor, arrivals: Tensor) -> Tensor:
        """Logits, means and log-scales of the hours ahead, shape (B, 3, N_AHEAD)."""
        logits, width = (hidden @ self.arrival_layer).chunk(2, dim=1)  # each (B, N_AHEAD)
        counted = (torch.log(arrivals + 0.1) * self.arrival_weights).sum(1)
        log_scale = math.log(ARRIVAL_WIDTH_H) - self.arrival_means + 0.3 * torch.tanh(width)
        return torch.stack(
            [
                logits + counted + self.arrival_bias,
                self.arrival_means.expand_as(logits),
                log_scale.clamp(-4.0, 3.0),
            ],
            dim=1,
        )
