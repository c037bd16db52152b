"""Parameters for logs in which no item comes back to a user: popularity and pairs of items.

A checkpoint of other logs copies from the history, which is never the answer here. So the weights
of the score's parts are constants instead: an item of the history is ranked last, and

    item_scores(b, i) = log(1 + count_i) + PAIR_WEIGHT log(1 + 100 sum_h affinity(h, i))

Constants cost no privacy. They were chosen on MovieLens with an earlier end of the training.
"""

from typing import Final

import torch
from torch import nn

from chronotope.models.discovery_head import AFFINITY_NAMES, DISCOVERY_SIZES
from chronotope.models.gate import GATE_SIZES
from chronotope.models.network import ChronotopeNet
from chronotope.models.prior_scores import PRIOR_NAMES

PAIR_WEIGHT: Final = 2.0
"""Weight of the pairs of items, as a logarithm; that of the popularity is 1."""

HISTORY_PENALTY: Final = -20.0
"""Score of the items of the history; all others have at least 0."""


def rank_new_items_only(net: ChronotopeNet, *, has_pairs: bool) -> None:
    """Set the weights of the parts of the score, in place.

    Args:
        net: A network with kernels, whose repeat head is left out.
        has_pairs: Whether the priors have a table of affinities.
    """
    output_layer = net.gate[2]
    if not isinstance(output_layer, nn.Linear) or net.discovery_head is None:
        raise TypeError("A network with a gate and a discovery head is needed")
    n_kernels, n_priors, n_counts, *_ = GATE_SIZES
    first_repeat = n_kernels + n_priors + n_counts
    with torch.no_grad():
        output_layer.weight.zero_()
        output_layer.bias.zero_()
        output_layer.bias[n_kernels + PRIOR_NAMES.index("popularity")] = 1.0
        output_layer.bias[first_repeat + 1] = HISTORY_PENALTY  # the bonus of a repeat
        net.discovery_head.reset()
        if has_pairs:
            first_affinity = sum(DISCOVERY_SIZES[:-1])
            log_affinity = first_affinity + AFFINITY_NAMES.index("log_affinity")
            net.discovery_head.layer.bias[log_affinity] = PAIR_WEIGHT
            net.discovery_head.active = True
