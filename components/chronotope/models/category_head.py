"""Scores of item categories from the query context and the category of the last event.

For a query b and a category c,

    score(b, c) = <mlp(c_b, embedding of the last event's category), e_c>

The counts of the priors know wide bins of hours and pairs of categories; this head combines
the exact time, the pace and the last category.
"""

import torch
from torch import Tensor, nn

N_UNITS = 32
LAST_CATEGORY_WIDTH = 8
"""Width of the last category's embedding."""
CATEGORY_WIDTH = 12
"""Width of the scored categories' embeddings."""


class CategoryHead(nn.Module):
    """Layer that scores every category for the context and the category of the last event."""

    def __init__(self, n_categories: int, n_context: int) -> None:
        """Build the layers; all categories start with nearly equal scores."""
        super().__init__()
        self.last_category_embedding = nn.Embedding(n_categories, LAST_CATEGORY_WIDTH)
        self.input_layer = nn.Linear(n_context + LAST_CATEGORY_WIDTH, N_UNITS)
        self.output_layer = nn.Linear(N_UNITS, CATEGORY_WIDTH)
        self.category_embedding = nn.Embedding(n_categories, CATEGORY_WIDTH)
        nn.init.normal_(self.last_category_embedding.weight, std=0.1)
        nn.init.normal_(self.category_embedding.weight, std=0.1)

    def forward(self, context: Tensor, last_category: Tensor) -> Tensor:
        """Scores, shape (B, n_categories).

        Args:
            context: Query context, shape (B, n_context).
            last_category: Category of each query's last event, int64, shape (B,).
        """
        inputs = torch.cat([context, self.last_category_embedding(last_category)], dim=1)
        hidden = nn.functional.gelu(self.input_layer(inputs))  # (B, N_UNITS)
        category_scores: Tensor = self.output_layer(hidden) @ self.category_embedding.weight.T
        return category_scores
