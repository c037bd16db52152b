"""Pruning removes the least, leaves the original alone and survives fine-tuning."""

import numpy as np
import pytest
import torch

from chronotope.compression.prune import prune_units, prune_weights
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import to_batch
from chronotope.models.config import BackboneKind, ModelConfig
from chronotope.models.network import ChronotopeNet, NetworkOutput
from chronotope.models.priors import count_priors
from chronotope.models.query_context import N_CONTEXT
from chronotope.testing.recommender_suite import sample_catalog, sample_log

PRIORS = count_priors(sample_log(), sample_catalog())


def network(backbone: BackboneKind = "none") -> ChronotopeNet:
    torch.manual_seed(0)
    config = ModelConfig(history_len=16, n_hidden=24, backbone=backbone, backbone_len=4, d_model=8)
    net = ChronotopeNet(config, sample_catalog()).eval()
    torch.nn.init.normal_(net.repeat_head.mix_out.weight)  # as if trained: it starts at zero
    return net


def say(net: ChronotopeNet) -> NetworkOutput:
    queries = queries_at(sample_log(), np.arange(40, 60), history_len=16, time_given=True)
    outputs: NetworkOutput = net(to_batch(queries, 16), PRIORS)
    return outputs


def one_step(net: ChronotopeNet) -> ChronotopeNet:
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    torch.autograd.backward(say(net).item_scores.square().mean())
    optimizer.step()
    return net


def zeros(net: ChronotopeNet) -> int:
    mixing = ("repeat_head.mix_kernels", "repeat_head.mix_context", "repeat_head.mix_out", "gate.0")
    weights = [net.get_parameter(f"{layer}.weight") for layer in mixing]
    return sum(w.numel() - int(w.count_nonzero()) for w in weights)


@pytest.mark.parametrize("backbone", ["none", "gru"])
def test_pruned_weights_stay_zero_through_training(backbone: BackboneKind) -> None:
    net = network(backbone)
    before = [p.clone() for p in net.parameters()]
    pruned, tuned = prune_weights(net, 0.6), prune_weights(net, 0.6, one_step)
    assert zeros(net) == 0
    assert 0 < zeros(pruned) <= zeros(tuned)
    assert not torch.equal(*(n.get_parameter("gate.0.bias") for n in (pruned, tuned)))
    assert all(torch.equal(one, other) for one, other in zip(before, net.parameters(), strict=True))


def test_the_smallest_weights_go_first() -> None:
    net = network()
    with torch.no_grad():
        net.repeat_head.mix_out.weight.fill_(9.0)
    assert (prune_weights(net, 0.9).repeat_head.mix_out.weight == 9.0).all()


def test_idle_units_are_removed_without_a_trace() -> None:
    net = network()
    with torch.no_grad():
        net.repeat_head.mix_out.weight[:, :12] = 0
        net.get_parameter("gate.2.weight")[:] = 0.1
        net.get_parameter("gate.2.weight")[:, 5:21] = 0
    small = prune_units(net, 0.5)
    assert small.repeat_head.mix_kernels.weight.shape == (
        12,
        net.repeat_head.mix_kernels.in_features,
    )
    assert small.get_parameter("gate.0.weight").shape == (16, N_CONTEXT)
    assert small.config.n_hidden == 12
    for one, other in zip(say(net), say(small), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_four_units_always_stay_and_training_follows() -> None:
    small = prune_units(network(), 0.99, one_step)
    assert small.repeat_head.mix_out.in_features == 4
    assert network().repeat_head.mix_out.in_features == 24
