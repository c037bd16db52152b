"""The terms of a score sum to it, and the shares of the MLP to its output."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import Batch, to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.explained.score_terms import OTHER, integrated_gradients, score_terms
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors, count_priors
from chronotope.testing.recommender_suite import sample_catalog, sample_content, sample_log

QUERIES = queries_at(sample_log(), np.arange(5, 90, 3), history_len=12, time_given=True)
EVERYTHING = ModelConfig(
    history_len=12,
    kernel_len=8,
    category_head=True,
    backbone="gru",
    backbone_len=4,
    context=("rain",),
)


def random_network(config: ModelConfig) -> tuple[ChronotopeNet, Priors, Batch]:
    """Every parameter drawn at random, every head in use."""
    torch.manual_seed(2)
    catalog = replace(sample_catalog(), content=sample_content(sample_catalog()))
    net = ChronotopeNet(config, catalog).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "log_" not in name and parameter.is_floating_point():
                parameter.normal_(std=0.2)
        if net.content_head is not None:
            net.content_head.cold_weights.normal_(std=0.3)
    if net.discovery_head is not None:
        net.discovery_head.active = True
    queries = replace(QUERIES, context={"rain": np.linspace(-1, 1, len(QUERIES), dtype=np.float32)})
    batch = to_batch(queries, config.history_len, columns=config.context)
    return net, count_priors(sample_log(), catalog, affinity=True), batch


@pytest.mark.parametrize(
    "config",
    [
        EVERYTHING,
        ModelConfig(history_len=12),
        EVERYTHING.model_copy(update={"repeat_kernels": False}),
    ],
    ids=["all", "plain", "without_repeat_kernels"],
)
def test_the_terms_sum_to_the_score_and_nothing_is_left(config: ModelConfig) -> None:
    net, priors, batch = random_network(config)
    terms = score_terms(net, batch, priors)
    with torch.no_grad():
        scores = net.item_scores(batch, priors)
    known = dict(zip(terms.names, terms.values[:, :, 1:], strict=True))
    rest = known.pop(OTHER)
    torch.testing.assert_close(sum(known.values()), scores[:, 1:], rtol=1e-4, atol=1e-4)
    assert rest.abs().max() < 1e-4


def test_every_head_that_is_in_use_has_its_term() -> None:
    net, priors, batch = random_network(EVERYTHING)
    names = set(score_terms(net, batch, priors).names)
    heads = {"category head", "context columns", "backbone", "content", "discovery head"}
    assert heads <= names
    assert {"kernel hour", "network hour", "prior distance", "repeat"} <= names


def test_an_item_that_was_never_had_gets_nothing_from_the_history_counts() -> None:
    net, priors, batch = random_network(ModelConfig(history_len=12))
    terms = score_terms(net, batch, priors)
    is_new = torch.ones_like(terms.values[0], dtype=torch.bool).scatter(1, batch.item_idx, False)
    for name, value in zip(terms.names, terms.values, strict=True):
        if name.startswith(("kernel", "network", "repeat", "count")):
            assert not value[is_new].any(), name


def test_closed_form_equals_the_integral_of_the_gradients() -> None:
    torch.manual_seed(0)
    inputs, input_weights = torch.rand(5, 4, dtype=torch.double), torch.randn(6, 4).double()
    offset, output_weights = torch.randn(5, 6).double(), torch.randn(6).double()
    inputs[0] = 0.0
    shares, constant = integrated_gradients(inputs, input_weights, offset, output_weights)

    def output(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.gelu(x @ input_weights.T + offset) @ output_weights

    torch.testing.assert_close(shares.sum(1) + constant, output(inputs))
    n_steps, integral = 400, torch.zeros_like(inputs)
    for step in range(n_steps):
        at = (inputs * ((step + 0.5) / n_steps)).requires_grad_()
        integral += torch.autograd.grad(output(at).sum(), at)[0] * inputs / n_steps
    torch.testing.assert_close(shares, integral, rtol=1e-4, atol=1e-5)
    assert not shares[0].any()


def test_a_network_without_kernels_is_refused() -> None:
    net, priors, batch = random_network(
        ModelConfig(history_len=12, kernels=False, backbone="gru", backbone_len=4)
    )
    with pytest.raises(ConfigError, match="kernels"):
        score_terms(net, batch, priors)
