"""Categories by the context and the last category together."""

import torch

from chronotope.models.category_head import CategoryHead

N_KINDS = 5


def rule(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """After kind 1 comes 2 in the morning and 3 in the evening; after 4 the other way round."""
    drawn = torch.Generator().manual_seed(seed)
    evening = torch.randint(2, (n,), generator=drawn)
    swapped = torch.randint(2, (n,), generator=drawn)
    context = torch.stack([evening.float(), torch.randn(n, generator=drawn)], dim=1)
    return context, 1 + 3 * swapped, 2 + (evening ^ swapped)


def test_it_learns_what_neither_the_hour_nor_the_last_kind_tells_alone() -> None:
    torch.manual_seed(0)
    head = CategoryHead(N_KINDS, n_context=2)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    context, last, after = rule(512, seed=1)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(context, last), after).backward()
        optimizer.step()
    context, last, after = rule(512, seed=2)
    right = (head(context, last).argmax(1) == after).float().mean()
    assert right > 0.95


def test_every_category_gets_a_score() -> None:
    scores = CategoryHead(N_KINDS, n_context=2)(
        torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)
    )
    assert scores.shape == (3, N_KINDS)
