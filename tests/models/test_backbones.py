"""Every backbone reads the latest events and nothing else, whatever the padding."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from chronotope.contracts.queries import Queries, queries_at
from chronotope.models.backbones.backbone import Backbone
from chronotope.models.backbones.hstu import HstuLayer
from chronotope.models.batch import Batch, to_batch
from chronotope.models.config import BACKBONES, BackboneKind, ModelConfig
from chronotope.models.item_tables import ItemTables
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from chronotope.testing.recommender_suite import sample_catalog, sample_log

LEARNED = [kind for kind in BACKBONES if kind != "none"]
TABLES, PRIORS = ItemTables(sample_catalog()), count_priors(sample_log(), sample_catalog())
every_backbone = pytest.mark.parametrize("kind", LEARNED)


def questions(history_len: int = 6) -> Queries:
    return queries_at(sample_log(), np.arange(60, 90), history_len=history_len, time_given=True)


def backbone(kind: BackboneKind, *, n_layers: int = 2) -> Backbone:
    """With random weights everywhere, so that nothing is silent."""
    torch.manual_seed(1)
    config = ModelConfig(backbone=kind, backbone_len=8, d_model=8, n_layers=n_layers)
    built = Backbone(config, TABLES)
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return built.eval()


def scores(model: Backbone, batch: Batch) -> Tensor:
    with torch.no_grad():
        said: Tensor = model(batch, TABLES, PRIORS, None)
    return said


@every_backbone
def test_the_width_of_padding_does_not_matter(kind: BackboneKind) -> None:
    model = backbone(kind)
    narrow, wide = (scores(model, to_batch(questions(), width)) for width in (6, 40))
    torch.testing.assert_close(narrow, wide, rtol=1e-4, atol=1e-4)


@every_backbone
def test_what_padding_holds_does_not_matter(kind: BackboneKind) -> None:
    batch = to_batch(questions(), 8)
    dirty = batch._replace(
        occurred_s=torch.where(batch.item_idx > 0, batch.occurred_s, 1_234_567),
        place_idx=torch.where(batch.item_idx > 0, batch.place_idx, 3),
    )
    model = backbone(kind)
    torch.testing.assert_close(scores(model, dirty), scores(model, batch))


@every_backbone
def test_only_the_latest_events_are_read(kind: BackboneKind) -> None:
    batch = to_batch(questions(history_len=12), 12)
    earlier, latest = batch.item_idx.clone(), batch.item_idx.clone()
    earlier[:, :4] = 1
    latest[:, -1] = latest[:, -1] % 15 + 1
    model = backbone(kind)
    before = scores(model, batch)
    torch.testing.assert_close(scores(model, batch._replace(item_idx=earlier)), before)
    changed = scores(model, batch._replace(item_idx=latest))
    assert ((changed - before).abs().amax(1) > 1e-3).all()


@every_backbone
def test_a_history_of_padding_alone_is_answered_and_taught(kind: BackboneKind) -> None:
    batch = to_batch(questions(), 8)
    stranger = batch._replace(item_idx=torch.zeros_like(batch.item_idx))
    model = backbone(kind).train()
    model(stranger, TABLES, PRIORS, None).square().sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(g).all()) for g in gradients)


@every_backbone
def test_candidates_are_scored_as_in_the_whole_catalogue(kind: BackboneKind) -> None:
    some, batch, model = torch.tensor([0, 7, 3]), to_batch(questions(), 8), backbone(kind)
    with torch.no_grad():
        torch.testing.assert_close(
            model(batch, TABLES, PRIORS, some), scores(model, batch)[:, some]
        )


def test_attention_of_one_event_is_the_formula() -> None:
    """One event, one layer: silu(q k + biases at zero distance) v, by hand."""
    torch.manual_seed(0)
    layer = HstuLayer(ModelConfig(d_model=4, backbone_len=5)).eval()
    torch.nn.init.normal_(layer.position_bias)
    torch.nn.init.normal_(layer.time_bias)
    x = torch.randn(1, 1, 4)
    u, v, q, k = torch.nn.functional.silu(layer.input_layer(layer.norm_in(x)))[0, 0].split(4)
    seen = torch.zeros(4)
    for head, part in enumerate((slice(0, 2), slice(2, 4))):
        logit = q[part] @ k[part] + layer.position_bias[head, 0] + layer.time_bias[head, 3]
        seen[part] = logit * torch.sigmoid(logit) * v[part] / 5
    expected = x + layer.output_layer(layer.norm_out(seen) * u)
    bucket = torch.full((1, 1, 1), 3)
    torch.testing.assert_close(layer(x, bucket, torch.ones(1, 1)), expected)


def test_hstu_knows_how_long_ago() -> None:
    model, batch = backbone("hstu"), to_batch(questions(), 8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "clock" in name:
                parameter.zero_()
    longer_ago = batch.occurred_s.clone()
    longer_ago[:, :-1] -= 40 * 86_400
    moved = batch._replace(occurred_s=longer_ago)
    assert (scores(model, moved) - scores(model, batch)).abs().max() > 1e-3


@every_backbone
def test_the_moment_that_is_asked_about_matters(kind: BackboneKind) -> None:
    model, batch = backbone(kind), to_batch(questions(), 8)
    later = batch._replace(request_s=batch.request_s + 5 * 3600)
    assert (scores(model, later) - scores(model, batch)).abs().max() > 1e-3


def test_graph_is_dense_lightgcn_on_few_items() -> None:
    model = backbone("lightgcn", n_layers=2)
    adjacent = torch.zeros(16, 16)
    adjacent.scatter_add_(1, PRIORS.neighbour, PRIORS.neighbour_weight)
    torch.testing.assert_close(adjacent, adjacent.T)
    start = model.item_embedding.weight + model.category_embedding.weight[TABLES.category]
    expected = (start + adjacent @ start + adjacent @ adjacent @ start) / 3
    assert model.item_tower is not None
    torch.testing.assert_close(model.item_tower(start, PRIORS), expected)


def test_neither_kernels_nor_backbone_is_refused() -> None:
    with pytest.raises(ValidationError, match="needs a backbone"):
        ModelConfig(kernels=False)


def test_kinds_without_kernels_are_refused() -> None:
    with pytest.raises(ValidationError, match="needs kernels"):
        ModelConfig(backbone="gru", kernels=False, category_head=True)


@pytest.mark.parametrize(
    ("kernels", "kind", "name"),
    [(True, "none", "chronotope"), (True, "gru", "chronotope+gru"), (False, "hstu", "hstu")],
)
def test_a_family_is_named_by_its_parts(kernels: bool, kind: BackboneKind, name: str) -> None:
    assert ModelConfig(kernels=kernels, backbone=kind).family == name


def test_kernels_lead_at_first_and_a_backbone_alone_leads_itself() -> None:
    batch = to_batch(questions(), 8)
    torch.manual_seed(0)
    beside = ChronotopeNet(ModelConfig(backbone="gru"), sample_catalog()).eval()
    alone = ChronotopeNet(ModelConfig(backbone="gru", kernels=False), sample_catalog()).eval()
    for net in (beside, alone):
        assert net.backbone is not None
        torch.nn.init.normal_(net.backbone.item_embedding.weight)
    with torch.no_grad():
        with_it, own = beside(batch, PRIORS).item_scores, alone(batch, PRIORS).item_scores
        assert alone.backbone is not None
        expected = scores(alone.backbone, batch) + 0.15 * PRIORS.popularity
        beside.backbone = None
        torch.testing.assert_close(with_it, beside(batch, PRIORS).item_scores)
    torch.testing.assert_close(own, expected)


def test_a_backbone_is_weighed_apart_for_returns_and_discoveries() -> None:
    config = ModelConfig(backbone="two_tower", kernels=False)
    net, batch = ChronotopeNet(config, sample_catalog()).eval(), to_batch(questions(), 8)
    net.get_parameter("gate.2.bias").data[-2:] = torch.tensor([3.0, -2.0])
    seen = torch.zeros(30, 16).scatter(1, batch.item_idx, 1.0) > 0
    with torch.no_grad():
        assert net.backbone is not None
        learned = scores(net.backbone, batch)
        said = net(batch, PRIORS).item_scores - 0.15 * PRIORS.popularity
    expected = torch.where(seen, 3.0 * learned, -2.0 * learned)
    torch.testing.assert_close(said[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-5)


def test_beside_kernels_a_backbone_says_nothing_of_returns() -> None:
    net, batch = (
        ChronotopeNet(ModelConfig(backbone="two_tower"), sample_catalog()).eval(),
        to_batch(questions(), 8),
    )
    assert net.backbone is not None
    torch.nn.init.normal_(net.backbone.item_embedding.weight)
    net.get_parameter("gate.2.bias").data[-2:] = torch.tensor([3.0, -2.0])
    seen = torch.zeros(30, 16).scatter(1, batch.item_idx, 1.0) > 0
    with torch.no_grad():
        learned, with_it = scores(net.backbone, batch), net(batch, PRIORS).item_scores
        net.backbone = None
        without = net(batch, PRIORS).item_scores
    expected = torch.where(seen, 0.0 * learned, -2.0 * learned)
    torch.testing.assert_close((with_it - without)[:, 1:], expected[:, 1:], rtol=1e-4, atol=1e-4)
