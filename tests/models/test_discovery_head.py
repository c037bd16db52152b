"""New items share their probability anew; returns and the sum over new items stay."""

import numpy as np
import pytest
import torch

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import Batch, to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors, count_priors
from chronotope.testing.recommender_suite import sample_catalog, sample_log

QUERIES = queries_at(sample_log(), np.arange(5, 90, 3), history_len=12, time_given=True)
CONFIG = ModelConfig(history_len=12, kernel_len=8)


def trained(config: ModelConfig = CONFIG) -> tuple[ChronotopeNet, Priors, Batch]:
    """A network whose head has weights, not yet in use."""
    torch.manual_seed(1)
    net = ChronotopeNet(config, sample_catalog()).eval()
    assert net.discovery_head is not None
    with torch.no_grad():
        for parameter in net.discovery_head.parameters():
            parameter.normal_(std=0.1)
    priors = count_priors(sample_log(), sample_catalog(), affinity=True)
    return net, priors, to_batch(QUERIES, config.history_len)


def new_items(batch: Batch, n_items: int) -> torch.Tensor:
    mask = torch.ones(len(batch.item_idx), n_items, dtype=torch.bool)
    return mask.scatter(1, batch.item_idx, False).index_fill(1, torch.tensor([0]), False)


def test_returns_and_the_probability_of_a_new_item_do_not_change() -> None:
    net, priors, batch = trained()
    with torch.no_grad():
        before = net.item_scores(batch, priors)
        net.discovery_head.active = True
        after = net.item_scores(batch, priors)
    is_new = new_items(batch, before.shape[1])
    torch.testing.assert_close(after[~is_new], before[~is_new])
    assert (after - before)[is_new].abs().max() > 0.1

    def share(scores: torch.Tensor) -> torch.Tensor:
        return torch.where(is_new, scores.softmax(1), 0.0).sum(1)

    torch.testing.assert_close(share(after), share(before))


def test_new_items_are_ranked_as_in_training() -> None:
    net, priors, batch = trained()
    scores, mask = net.new_item_scores(batch, priors, None)
    assert scores.requires_grad
    is_new = new_items(batch, scores.shape[1])
    torch.testing.assert_close(mask, is_new.float())
    net.discovery_head.active = True
    with torch.no_grad():
        used = net.item_scores(batch, priors)
    for row in range(len(used)):
        differences = (used[row] - scores[row])[is_new[row]]
        torch.testing.assert_close(differences, differences[:1].expand_as(differences))


def test_candidates_get_the_scores_of_the_whole_catalogue() -> None:
    net, priors, batch = trained()
    batch = Batch(*(column[:2] for column in batch))  # histories are always among the candidates
    candidates = torch.cat([torch.zeros(1, dtype=torch.int64), batch.item_idx.flatten()]).unique()
    candidates = torch.cat([candidates, torch.tensor([9, 11])]).unique()
    assert len(candidates) < sample_catalog().n_items
    with torch.no_grad():
        whole, _ = net.new_item_scores(batch, priors, None)
        part, mask = net.new_item_scores(batch, priors, candidates)
    is_new = mask.bool()
    torch.testing.assert_close(part[is_new], whole[:, candidates][is_new])


def test_a_head_without_weights_is_not_used_after_loading_and_a_trained_one_is() -> None:
    net, _, _ = trained()
    other = ChronotopeNet(CONFIG, sample_catalog())
    other.load_state_dict(net.state_dict())
    assert other.discovery_head.active
    net.discovery_head.reset()
    other.load_state_dict(net.state_dict())
    assert not other.discovery_head.active


def test_a_network_without_kernels_has_no_head() -> None:
    net = ChronotopeNet(ModelConfig(kernels=False, backbone="gru"), sample_catalog())
    assert net.discovery_head is None
    with pytest.raises(ConfigError, match="no discovery head"):
        net.new_item_scores(
            to_batch(QUERIES, 12), count_priors(sample_log(), sample_catalog()), None
        )
