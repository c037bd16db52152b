"""An index of the items, a query and a few extra scores say what the whole network says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import to_batch
from chronotope.models.config import BackboneKind, ModelConfig
from chronotope.models.factorized import FactorizedNet, FactorizedOutput, item_vectors
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors, count_priors, without_events_of
from chronotope.testing.recommender_suite import sample_catalog, sample_content, sample_log

QUERIES = queries_at(sample_log(), np.arange(5, 90, 3), history_len=12, time_given=True)


def plain_catalog() -> Catalog:
    nowhere = np.full(sample_catalog().n_items, np.nan)
    return replace(sample_catalog(), item_lat=nowhere, item_lon=nowhere, items_are_places=False)


def loud(net: ChronotopeNet) -> ChronotopeNet:
    """All weights drawn, so that no part is silent."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in net.parameters():
            if weight.ndim > 1:
                weight.add_(0.2 * torch.randn_like(weight))
    return net.eval()


def together(split: FactorizedOutput, net: ChronotopeNet, priors: Priors) -> torch.Tensor:
    dense = split.query @ item_vectors(net, priors).T + split.group[:, net.item_tables.category]
    return dense.scatter_add(1, split.extra_item, split.extra)


@pytest.mark.parametrize("kind", ["none", "gru", "transformer", "two_tower", "lightgcn"])
@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("context", [(), ("rain",)])
@pytest.mark.parametrize("content", [True, False])
@pytest.mark.parametrize("repeat_kernels", [True, False])
def test_the_parts_add_up_to_the_scores(
    kind: BackboneKind,
    kernels: bool,
    context: tuple[str, ...],
    content: bool,
    repeat_kernels: bool,
) -> None:
    if kind == "none" and not kernels:
        pytest.skip("nothing would be left of the model")
    if repeat_kernels and not kernels:
        pytest.skip("a network without kernels has none for repeats")
    catalog = plain_catalog()
    if content:
        catalog = replace(catalog, content=sample_content(catalog))
    config = ModelConfig(
        history_len=12,
        kernel_len=8,
        backbone=kind,
        kernels=kernels,
        repeat_kernels=repeat_kernels,
        category_head=kernels and bool(context),
        context=context,
    )
    net, priors = loud(ChronotopeNet(config, catalog)), count_priors(sample_log(), catalog)
    if net.content_head is not None:
        net.content_head.cold_weights.copy_(torch.tensor([0.7, 1.3, 0.5, -0.2]))
        net.content_head.metric.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
        priors = without_events_of(priors, catalog, torch.arange(catalog.n_items) % 7 == 3)
    assert (net.content_head is not None) == (content and kernels)
    rain = {"rain": np.linspace(-1, 1, len(QUERIES)).astype(np.float32)}
    batch = to_batch(replace(QUERIES, context=rain), 12, context)
    table = item_vectors(net, priors)[:, -config.d_model :]
    with torch.no_grad():
        said = net(batch, priors)
        split = FactorizedNet(net)(batch, priors, table[batch.item_idx])
        found = together(split, net, priors)
    torch.testing.assert_close(found[:, 1:], said.item_scores[:, 1:], atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(split.when, said.when)
    torch.testing.assert_close(split.place_scores, said.place_scores)


def test_coordinates_are_refused() -> None:
    with pytest.raises(ConfigError, match="coordinates"):
        FactorizedNet(ChronotopeNet(ModelConfig(history_len=8), sample_catalog()))
