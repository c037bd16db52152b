"""LightGCN over the graph of co-visits; a user is the mean embedding of the latest items."""

import torch
from torch import Tensor, nn

from chronotope.models.priors import Priors


class LightGcn(nn.Module):
    """Item embeddings, propagated along the normalised item graph.

    e_i^(k + 1) = sum_j w_ij e_j^(k),  e_i = mean of e_i^(0) .. e_i^(n_layers)

    where w is the cosine of items close together in histories, the largest of
    each row. The graph is a prior: new events change it without training.

    Source:
        He et al. (2020), LightGCN, eq. 7-8, on the graph of items.
    """

    def __init__(self, n_layers: int) -> None:
        """Set the number of propagation steps."""
        super().__init__()
        self.n_layers = n_layers

    def forward(self, item_table: Tensor, priors: Priors) -> Tensor:
        """Propagated embeddings, (n_items, d_model) to the same shape."""
        layer_tables = [item_table]
        for _ in range(self.n_layers):
            layer_tables.append(_propagate(layer_tables[-1], priors))
        return torch.stack(layer_tables).mean(0)


def _propagate(item_table: Tensor, priors: Priors) -> Tensor:
    """Weighted sum of each item's neighbours, (n_items, d) to the same shape."""
    neighbour_idx, weight = priors.neighbour, priors.neighbour_weight
    if torch.compiler.is_exporting():
        # embedding_bag exports as a loop over items; this form is constant-folded at load
        return (item_table[neighbour_idx] * weight[..., None]).sum(1)  # (n_items, d)
    return nn.functional.embedding_bag(
        neighbour_idx, item_table, per_sample_weights=weight, mode="sum"
    )
