"""LightGCN over the graph of co-visits: users are where their latest items are."""

import torch
from torch import Tensor, nn

from chronotope.models.priors import Priors


class LightGcn(nn.Module):
    """Embeddings of items, spread along the normalised graph.

    e_i^(k + 1) = sum_j w_ij e_j^(k),  e_i = mean of e_i^(0) .. e_i^(n_layers)

    where w is the cosine of items found close together in histories, the heaviest of
    each row. The graph is a prior: new events change it without training.

    Source:
        He et al. (2020), LightGCN, eq. 7-8, on the graph of items.
    """

    def __init__(self, n_layers: int) -> None:
        """Choose how far embeddings travel."""
        super().__init__()
        self.n_layers = n_layers

    def forward(self, table: Tensor, priors: Priors) -> Tensor:
        """Spread embeddings, (n_items, d_model) to the same shape."""
        layers = [table]
        for _ in range(self.n_layers):
            layers.append(_spread(layers[-1], priors))
        return torch.stack(layers).mean(0)


def _spread(table: Tensor, priors: Priors) -> Tensor:
    """Weighted sum of each item's neighbours, (n_items, d) to the same shape."""
    neighbour, weight = priors.neighbour, priors.neighbour_weight
    if torch.compiler.is_exporting():
        # a bag becomes a loop over items there; this one is folded when the graph is loaded
        return (table[neighbour] * weight[..., None]).sum(1)
    return nn.functional.embedding_bag(neighbour, table, per_sample_weights=weight, mode="sum")
