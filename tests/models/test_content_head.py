"""Scores by content: of items with events beside all else, of items without by content alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.content_head import check_encoders, model_catalog
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors, count_priors, without_events_of
from chronotope.testing.recommender_suite import sample_catalog, sample_content, sample_log

LOG = sample_log()
QUERIES = queries_at(LOG, np.arange(5, 90, 3), history_len=12, time_given=True)
BATCH = to_batch(QUERIES, 12)
CONFIG = ModelConfig(history_len=12)
COLD = 3


def content_catalog(catalog: Catalog | None = None) -> Catalog:
    """A catalogue with texts and images."""
    catalog = catalog or sample_catalog()
    return replace(catalog, content=sample_content(catalog))


def network(catalog: Catalog) -> ChronotopeNet:
    torch.manual_seed(0)
    net = ChronotopeNet(CONFIG, catalog).eval()
    if net.content_head is not None:
        net.content_head.cold_weights.copy_(torch.tensor([0.7, 1.3, 0.5, -0.2]))
        net.content_head.metric.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    return net


def cold_priors(catalog: Catalog) -> Priors:
    """Priors in which one item has no events."""
    is_hidden = torch.arange(catalog.n_items) == COLD
    return without_events_of(count_priors(LOG, catalog), catalog, is_hidden)


def test_the_score_is_the_formula_of_the_module() -> None:
    catalog = content_catalog()
    net, priors = network(catalog), cold_priors(catalog)
    head, content = net.content_head, catalog.content
    assert head is not None
    assert content is not None
    with torch.no_grad():
        scored = net.score_items(BATCH, priors)
        assert scored.profiles is not None
        gates = head.gates(scored.context).numpy().reshape(-1, 2, 2)  # query, profile, modality
        head.gates.weight.zero_()
        head.gates.bias.zero_()
        head.cold_weights.zero_()
        metric = head.metric.numpy().copy()
        head.metric.zero_()
        rest = net.item_scores(BATCH, priors).numpy()
    expected, share = np.zeros_like(rest), priors.cold_share.numpy()
    assert share[COLD] == 1.0
    following = scored.profiles.recent.numpy() @ metric[:-1] + metric[-1]
    expected += following @ content.vectors.T * share
    images = slice(0, content.axes.n_axes[0])
    texts = slice(content.axes.n_axes[0], None)
    for modality, columns in enumerate((images, texts)):
        vectors = content.vectors[:, columns]
        for number, profile in enumerate(scored.profiles):
            products = profile.numpy()[:, columns] @ vectors.T
            expected += gates[:, number, [modality]] * products
        similarity = scored.profiles.recent.numpy()[:, columns] @ vectors.T
        expected += (0.7, 1.3)[modality] * similarity * share
    expected += (0.5 * priors.content_popularity.numpy() - 0.2) * share
    np.testing.assert_allclose(scored.item_scores.numpy() - rest, expected, atol=2e-4)


def test_the_recent_profile_is_a_mean_of_the_events_vectors() -> None:
    catalog = content_catalog()
    head = network(catalog).content_head
    assert head is not None
    weights = torch.rand(BATCH.item_idx.shape)
    profiles = head.profiles(BATCH, weights)
    item_idx, row = BATCH.item_idx[4], weights[4] * (BATCH.item_idx[4] > 0)
    by_hand = (head.vectors[item_idx] * row[:, None]).sum(0) / row.sum()
    torch.testing.assert_close(profiles.recent[4], by_hand)
    torch.testing.assert_close(profiles.last[4], head.vectors[item_idx[-1]])


def test_an_item_without_events_has_what_similar_items_have() -> None:
    catalog = content_catalog()
    counted, priors = count_priors(LOG, catalog), cold_priors(catalog)
    popular = counted.popularity[1:]
    assert priors.popularity[COLD] == 0
    assert popular.min() <= priors.content_popularity[COLD] <= popular.max()
    assert (priors.cold_share[counted.popularity > 1.8] == 0).sum() > 5
    of_others = counted.by_hour[:, counted.popularity > 0]
    assert (priors.by_hour[:, COLD] >= of_others.amin(1) - 1e-5).all()
    assert (priors.by_hour[:, COLD] <= of_others.amax(1) + 1e-5).all()
    assert not torch.equal(priors.by_hour[:, COLD], counted.by_hour[:, COLD])
    for values, items in (("next_item_log", "next_item"), ("neighbour_weight", "neighbour")):
        is_pair = getattr(priors, items) == COLD
        assert not getattr(priors, values)[is_pair].any()
        assert not getattr(priors, values)[COLD].any()
    activity = dict(zip(range(10), priors.activity[:, COLD].tolist(), strict=True))
    assert activity.pop(8) > 0  # events of its category
    assert not any(activity.values())


def test_an_item_with_an_event_is_not_cold() -> None:
    catalog = content_catalog()
    net, priors = network(catalog), count_priors(LOG, catalog)
    head = net.content_head
    assert head is not None
    is_cold = priors.cold_share > 0
    with torch.no_grad():
        before = net.item_scores(BATCH, priors)
        head.cold_weights.mul_(9.0)
        after = net.item_scores(BATCH, priors)
    torch.testing.assert_close(after[:, ~is_cold], before[:, ~is_cold])


def test_without_content_nothing_changes() -> None:
    plain = network(sample_catalog())
    assert plain.content_head is None
    switched_off = ChronotopeNet(CONFIG.model_copy(update={"content": False}), content_catalog())
    assert switched_off.content_head is None
    assert plain.state_dict().keys() == switched_off.state_dict().keys()
    priors = count_priors(LOG, sample_catalog())
    assert not priors.content_popularity.any()


def test_only_the_selected_modalities_are_read() -> None:
    config = CONFIG.model_copy(update={"modalities": ("text",)})
    catalog = model_catalog(content_catalog(), config)
    assert catalog.content is not None
    assert catalog.content.axes.modalities == ("text",)
    head = ChronotopeNet(config, content_catalog()).content_head
    assert head is not None
    assert head.vectors.shape == catalog.content.vectors.shape
    none_of_them = CONFIG.model_copy(update={"modalities": ("audio",)})
    assert ChronotopeNet(none_of_them, content_catalog()).content_head is None


def test_other_encoders_are_refused() -> None:
    content = sample_content(sample_catalog())
    check_encoders({"text": "minilm@1", "image": "lite@2"}, content)
    with pytest.raises(ConfigError, match="other encoders"):
        check_encoders({"text": "minilm@9", "image": "lite@2"}, content)
    with pytest.raises(ConfigError, match="other encoders"):
        check_encoders({"text": "minilm@1"}, content)


def test_a_new_item_keeps_a_share_until_it_has_five_events() -> None:
    catalog = content_catalog()
    others = LOG.take(LOG.item_idx != COLD)
    end_s = int(others.occurred_s.max())
    shares = []
    for n_events in range(7):
        first = replace(
            others.take(np.arange(n_events)),
            item_idx=np.full(n_events, COLD),
            occurred_s=end_s - 3_600 * np.arange(n_events, 0, -1),
        )
        columns = {
            name: np.r_[getattr(others, name), getattr(first, name)]
            for name in ("user_idx", "item_idx", "place_idx", "occurred_s")
        }
        priors = count_priors(EventLog.sorted(**columns), catalog)
        shares.append(float(priors.cold_share[COLD]))
        assert (priors.content_popularity[COLD] > 0) == (n_events < 5)
    assert shares == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.0, 0.0], abs=1e-6)


def test_an_old_item_with_few_events_is_no_new_one() -> None:
    catalog, log = content_catalog(), LOG
    rare = log.item_idx == COLD
    rare[np.flatnonzero(rare)[:1]] = False
    log = log.take(~rare)
    assert count_priors(log, catalog).cold_share[COLD] == pytest.approx(0.8)
    columns = {
        name: getattr(log, name) for name in ("user_idx", "item_idx", "place_idx", "occurred_s")
    }
    columns["occurred_s"] = log.occurred_s - 60 * 86_400 * (log.item_idx == COLD)
    assert count_priors(EventLog.sorted(**columns), catalog).cold_share[COLD] == 0
