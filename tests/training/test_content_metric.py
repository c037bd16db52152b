"""The metric of content: which content follows which, and in the axes of another snapshot."""

import numpy as np
import torch

from chronotope.content.content_axes import project_items
from chronotope.training.content_metric import NextContent, metric_in_axes

N_ITEMS, N_TARGETS, DIM = 120, 4_000, 6


def followed(seed: int = 0) -> NextContent:
    """After content e0 comes e1, after e1 comes e0; items with e2 are had twice as often."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, N_ITEMS)
    vectors = np.zeros((N_ITEMS, 3))
    vectors[np.arange(N_ITEMS), kind] = 1.0
    vectors[:, 2] = rng.integers(0, 2, N_ITEMS)
    vectors[0] = 0.0
    past_kind = rng.integers(0, 2, N_TARGETS)
    chances = (1.0 + vectors[:, 2]) * (kind != past_kind[:, None]) * (np.arange(N_ITEMS) > 0)
    chances /= chances.sum(axis=1, keepdims=True)
    target_idx = (chances.cumsum(axis=1) > rng.random((N_TARGETS, 1))).argmax(axis=1)
    profiles = np.zeros((N_TARGETS, 3))
    profiles[np.arange(N_TARGETS), past_kind] = 1.0
    return NextContent(profiles, target_idx, vectors)


def test_it_says_what_follows_and_what_is_popular() -> None:
    data = followed()
    metric = data.metric(torch.ones(N_ITEMS, dtype=torch.bool))
    personal, popular = metric.features(torch.eye(3)[:2], torch.eye(3))
    assert personal[0, 1] > 0 > personal[0, 0]
    assert personal[1, 0] > 0 > personal[1, 1]
    assert popular[0, 2] > 0
    assert torch.equal(popular[0], popular[1])
    weighted = metric.weighted(torch.tensor(2.0), torch.tensor(0.5))  # (A + 1, A)
    of_matrix = torch.eye(3)[:2] @ weighted[:-1] + weighted[-1]
    torch.testing.assert_close(of_matrix, 2.0 * personal + 0.5 * popular)


def test_items_that_may_not_be_known_take_no_part() -> None:
    data = followed()
    is_known = torch.arange(N_ITEMS) < 60
    changed = data.vectors.copy()
    changed[60:] = 9.0
    other_targets = np.where(data.target_idx >= 60, 119, data.target_idx)
    other = NextContent(data.profiles, other_targets, changed)
    for name in ("products", "popularity", "mean_profile"):
        of_known, of_other = (getattr(part.metric(is_known), name) for part in (data, other))
        torch.testing.assert_close(of_known, of_other)
    no_targets = NextContent(np.zeros((0, 3)), np.zeros(0, np.int64), data.vectors)
    for metric in (data.metric(~torch.ones_like(is_known)), no_targets.metric(is_known)):
        assert not metric.weighted(torch.tensor(1.0), torch.tensor(1.0)).any()


def test_it_moves_to_the_axes_of_another_snapshot() -> None:
    rng = np.random.default_rng(1)
    encoded = rng.normal(size=(N_ITEMS, DIM)).astype(np.float32) * np.arange(1, DIM + 1)
    encoded[0] = 0.0
    old = project_items({"text": encoded}, {"text": "sample@1"})
    grown = np.vstack([encoded, rng.normal(size=(40, DIM)).astype(np.float32) + 1])
    new = project_items({"text": grown.astype(np.float32)}, {"text": "sample@1"})
    metric = torch.from_numpy(rng.normal(size=(DIM + 1, DIM)).astype(np.float32))
    moved = metric_in_axes(metric, old.axes, new.axes)

    def scores(vectors: np.ndarray, matrix: torch.Tensor) -> np.ndarray:
        """Centred over the items: what is the same for all of them does not order any."""
        rows = torch.from_numpy(vectors[1:N_ITEMS])
        products = (rows[:20] @ matrix[:-1] + matrix[-1]) @ rows.T
        return (products - products.mean(dim=1, keepdim=True)).numpy()

    np.testing.assert_allclose(
        scores(new.vectors, moved), scores(old.vectors, metric), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(metric_in_axes(metric, old.axes, old.axes), metric)
