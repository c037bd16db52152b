"""Which kinds of items the context speaks for.

For a query b and a category c,

    score(b, c) = <mlp(c_b, d of the last event's category), e_c>

The counts of the priors know hours in wide bins and one category after another; this knows
the moment, the pace and the last category together, and it is all that it knows.
"""

import torch
from torch import Tensor, nn

N_UNITS = 32
N_READ = 8
"""Width of the last category's embedding."""
N_TASTES = 12
"""Width of the scored categories' embeddings."""


class CategoryHead(nn.Module):
    """Scores every category for the context and the category of the last event."""

    def __init__(self, n_categories: int, n_context: int) -> None:
        """Build the layers; all categories start nearly alike."""
        super().__init__()
        self.kind = nn.Embedding(n_categories, N_READ)
        self.read = nn.Linear(n_context + N_READ, N_UNITS)
        self.tastes = nn.Linear(N_UNITS, N_TASTES)
        self.category = nn.Embedding(n_categories, N_TASTES)
        nn.init.normal_(self.kind.weight, std=0.1)
        nn.init.normal_(self.category.weight, std=0.1)

    def forward(self, context: Tensor, last: Tensor) -> Tensor:
        """Scores, shape (B, n_categories).

        Args:
            context: Of the queries, shape (B, n_context).
            last: Category of each query's last event, int64, shape (B,).
        """
        unit = nn.functional.gelu(self.read(torch.cat([context, self.kind(last)], dim=1)))
        scores: Tensor = self.tastes(unit) @ self.category.weight.T
        return scores
