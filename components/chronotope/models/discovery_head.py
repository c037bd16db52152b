"""Discovery head: ranking of the items that are new to the user, calibrated among themselves.

The network divides its probability among returns and new items; the head divides the share of the
new items anew,

    item_scores'(b, i) = item_scores(b, i) + shift(b, i) - log(Z'_b / Z_b)     i new to the user

where Z and Z' are the sums over the new items before and after, so that neither a return's
score nor the probability of any new item changes. The shift is log-linear,

    shift(b, i) = sum_g prior_g(c_b) prior_g(b, i)             weights of the priors for a discovery
                + sum_r activity_r(c_b) activity_r(i)          live counts of all users
                + affinity_0(c_b) 10 ease(b, i) + affinity_1(c_b) log(1 + 100 ease(b, i))

ease(b, i) is the sum of the EASE weights from the items of the history to i. The weights are linear
in the query context c_b and start at zero: the head changes nothing before it is trained, and
nothing where it does not help on later events.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from chronotope.features.activity_counts import ACTIVITY_NAMES
from chronotope.models.batch import Batch
from chronotope.models.history_index import HistoryIndex
from chronotope.models.item_tables import CandidateView
from chronotope.models.prior_scores import PRIOR_NAMES
from chronotope.models.priors import Priors

AFFINITY_NAMES: Final = ("affinity", "log_affinity")
"""Sum of EASE weights, as it is and as a logarithm."""

DISCOVERY_SIZES: Final = (len(PRIOR_NAMES), len(ACTIVITY_NAMES), len(AFFINITY_NAMES))


class DiscoveryWeights(NamedTuple):
    """Weights for each query, each of shape (B, n)."""

    priors: Tensor
    activity: Tensor
    affinity: Tensor


class DiscoveryHead(nn.Module):
    """Weights of the parts of the shift, and their sums.

    Attributes:
        active: Whether the weights are used; an exported graph has no trace of an inactive head.
    """

    def __init__(self, n_context: int) -> None:
        """Build the layer with all weights zero."""
        super().__init__()
        self.layer = nn.Linear(n_context, sum(DISCOVERY_SIZES))
        self.active = False
        self.reset()
        self.register_load_state_dict_post_hook(_activate_if_trained)  # type: ignore[no-untyped-call]

    def reset(self) -> None:
        """Set all weights to zero: the head changes nothing."""
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.active = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the head out within the block, as while the rest of the network is trained."""
        was_active, self.active = self.active, False
        try:
            yield
        finally:
            self.active = was_active

    def weights(self, context: Tensor) -> DiscoveryWeights:
        """Weights of the parts.

        Args:
            context: Query context, shape (B, n_context).
        """
        return DiscoveryWeights(*torch.split(self.layer(context), list(DISCOVERY_SIZES), dim=1))

    def part_scores(
        self,
        batch: Batch,
        priors: Priors,
        view: CandidateView,
        history: HistoryIndex,
        weights: DiscoveryWeights,
    ) -> Tensor:
        """Sum of activity and affinity for every candidate, shape (B, C).

        Args:
            batch: The queries with their full histories.
            priors: Activity and affinity of the items.
            view: The candidates.
            history: Index of the items of the full histories.
            weights: Weights of the parts.
        """
        item_scores = weights.activity @ view.activity  # (B, C)
        affine_items = priors.affinity_item[batch.item_idx].flatten(1)  # (B, H * M)
        event_weights = priors.affinity_weight[batch.item_idx] * history.is_first[..., None]
        affinity = torch.zeros_like(item_scores).scatter_add(
            1, view.column[affine_items], event_weights.flatten(1)
        )
        item_scores = item_scores + 10.0 * affinity * weights.affinity[:, :1]
        log_scores: Tensor = torch.log1p(100.0 * affinity) * weights.affinity[:, 1:]
        return item_scores + log_scores


def new_item_mask(history: HistoryIndex, n_columns: int) -> Tensor:
    """1 at candidates that are not in the history, 0 at others and at column 0, (B, C)."""
    mask = history.is_first.new_ones(history.column.shape[0], n_columns)
    unknown_column = torch.zeros_like(history.column[:, :1])
    return mask.scatter(1, history.column, 0.0).scatter(1, unknown_column, 0.0)


def redistribute(item_scores: Tensor, shift: Tensor, is_new: Tensor) -> Tensor:
    """Item scores with the shares of the new items changed, and their sum unchanged, (B, C).

    Args:
        item_scores: Logits, shape (B, C).
        shift: Change of the logits of new items, shape (B, C).
        is_new: ``new_item_mask``.
    """
    excluded = (1.0 - is_new) * -1e9
    shifted = item_scores + shift
    log_ratio = torch.logsumexp(shifted + excluded, 1) - torch.logsumexp(item_scores + excluded, 1)
    return item_scores + (shift - log_ratio[:, None]) * is_new


def _activate_if_trained(head: nn.Module, _: Any) -> None:
    """Use the head if the loaded weights differ from those at the start."""
    if isinstance(head, DiscoveryHead):
        head.active = any(bool(parameter.any()) for parameter in head.layer.parameters())
