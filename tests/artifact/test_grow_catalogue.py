"""A bundle that gets items later scores them as one that was exported with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch

from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.artifact.catalogue_tables import GROWING_AXES
from chronotope.artifact.cold_rows import NewItems, known_tables
from chronotope.artifact.grow_catalogue import GrowableBundle
from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.compression.config import Variant
from chronotope.compression.export import _OPEN_AXES, export_onnx
from chronotope.compression.graph_variants import derive_variant
from chronotope.content.content_axes import project_items
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.event_log import Catalog, EventLog, Float32, Float64
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_content import ItemContent
from chronotope.contracts.queries import Queries, queries_at
from chronotope.models.config import BackboneKind, ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from chronotope.testing.recommender_suite import N_ITEMS, sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.embedding_transfer import transfer_network
from chronotope.training.recommender import ChronotopeRecommender

N_NEW = 3
NEW_IDS = [f"new{n}" for n in range(N_NEW)]
TRAINING = TrainingConfig(max_epochs=1, n_rounds=3, batch_size=64, discovery_targets=200)


def catalogues(*, located: bool) -> tuple[Catalog, Catalog]:
    """A catalogue whose last items have no events, and the same without them."""
    rng = np.random.default_rng(3)
    n_items = N_ITEMS + N_NEW + 1
    text = rng.normal(size=(n_items, 6)).astype(np.float32)
    text[0] = text[-1] = 0.0  # the last one has no text
    nowhere = np.full(n_items, np.nan)
    whole = replace(
        sample_catalog(),
        items=IdMap(pa.concat_arrays([sample_catalog().items.ids, pa.array(NEW_IDS)])),
        item_category=np.append(sample_catalog().item_category, [1, 2, 3]).astype(np.int32),
        item_lat=coordinates(rng) if located else nowhere,
        item_lon=coordinates(rng) if located else nowhere,
        item_title=np.array([f"title {n}" for n in range(n_items)]),
        places=IdMap.of([]),
        place_lat=nowhere[:1],
        place_lon=nowhere[:1],
        items_are_places=False,
        content=project_items({"text": text}, {"text": "sample@1"}),
    )
    return whole, first_items(whole, N_ITEMS + 1)


def coordinates(rng: np.random.Generator) -> Float64:
    """Degrees of the items; the new ones leave the mean, the origin of the plane, as it is."""
    known = 40.0 + rng.uniform(0.0, 0.03, N_ITEMS)
    new = known.mean() + np.array([0.011, -0.011, np.nan])
    return np.r_[np.nan, known, new]


def first_items(catalog: Catalog, n_items: int) -> Catalog:
    content = catalog.content
    assert content is not None
    return replace(
        catalog,
        items=IdMap(catalog.items.ids[: n_items - 1]),
        item_category=catalog.item_category[:n_items],
        item_lat=catalog.item_lat[:n_items],
        item_lon=catalog.item_lon[:n_items],
        item_title=catalog.item_title[:n_items],
        content=ItemContent(content.axes, content.vectors[:n_items]),
    )


def trained(
    backbone: BackboneKind = "none", *, located: bool = True
) -> tuple[ChronotopeRecommender, Catalog, EventLog]:
    """A recommender of the smaller catalogue."""
    _, known = catalogues(located=located)
    log = sample_log()
    log = replace(log, place_idx=np.zeros_like(log.place_idx))
    model = ModelConfig(history_len=32, kernel_len=32, backbone=backbone)
    recommender = ChronotopeRecommender(model, TRAINING).fit(log, known)
    head = recommender.net.discovery_head
    assert head is not None
    head.active = True  # so few targets leave it out
    torch.manual_seed(0)
    for weights in head.parameters():
        torch.nn.init.normal_(weights, std=0.05)
    return recommender, known, log


def write(folder: Path, net: ChronotopeNet, catalog: Catalog, log: EventLog) -> Path:
    folder.mkdir(parents=True)
    priors = count_priors(log, catalog, affinity=True)
    export_onnx(net, priors, folder / MODEL)
    about = {"name": "net", "dataset": "city", "data_version": "1", "history_len": 32}
    write_bundle(folder, catalog, trained_until_s=0, **about)
    return folder


def new_items(whole: Catalog, net: ChronotopeNet) -> NewItems:
    """What a service knows of the items of the larger catalogue that are new."""
    rows = slice(N_ITEMS + 1, None)
    larger = transfer_network(net, first_items(whole, N_ITEMS + 1), whole)
    located = larger.item_tables.located.numpy()[rows] > 0
    assert whole.content is not None
    return NewItems(
        item_ids=tuple(whole.items.ids.to_pylist()[N_ITEMS:]),
        category_idx=whole.item_category[rows].astype(np.int64),
        east_km=np.where(located, larger.item_tables.east_km.numpy()[rows], np.nan),
        north_km=np.where(located, larger.item_tables.north_km.numpy()[rows], np.nan),
        content=whole.content.vectors[rows],
        titles=("a", "b", "c"),
    )


def queries(log: EventLog, last_item: int) -> Queries:
    """Histories of known items, every other one with a given last item."""
    known = queries_at(log, np.arange(40, 400, 40), history_len=32, time_given=True)
    item_idx = known.item_idx.copy()
    item_idx[::2, -1] = last_item
    return replace(known, item_idx=item_idx)


def scores(recommender: OnnxRecommender, log: EventLog, last_item: int = N_ITEMS + 1) -> Float32:
    """Scores of all items, apart from a constant of each query."""
    item_scores = recommender.answer(queries(log, last_item)).item_scores[:, 1:]
    assert np.isfinite(item_scores).all()
    return item_scores - item_scores.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("located", [True, False])
def test_scores_are_those_of_a_graph_that_knew_the_items(tmp_path: Path, located: bool) -> None:
    recommender, known, log = trained(located=located)
    whole, _ = catalogues(located=located)
    bundle = GrowableBundle.read(write(tmp_path / "known", recommender.net, known, log))
    grown, vocabulary = bundle.with_items(new_items(whole, recommender.net))
    larger = transfer_network(recommender.net, known, whole)
    expected = OnnxRecommender.load(write(tmp_path / "whole", larger, whole, log))
    np.testing.assert_allclose(scores(grown, log), scores(expected, log), rtol=1e-3, atol=1e-4)
    assert vocabulary.items.ids.equals(whole.items.ids)
    assert vocabulary.titles[-1] == "c"


@pytest.mark.parametrize(
    "variant", ["exact_tables", "fp16_tables", "int8_tables", "int8_matmul", "int8_gather"]
)
def test_compressed_graphs_grow(tmp_path: Path, variant: Variant) -> None:
    recommender, known, log = trained("gru" if variant == "int8_gather" else "none")
    whole, _ = catalogues(located=True)
    folder = write(tmp_path / "known", recommender.net, known, log)
    items = new_items(whole, recommender.net)
    exact, _ = GrowableBundle.read(folder).with_items(items)
    small = tmp_path / "small"
    small.mkdir()
    derive_variant(folder / MODEL, small / MODEL, variant)
    about = {"name": "net", "dataset": "city", "data_version": "1", "history_len": 32}
    write_bundle(small, known, trained_until_s=0, **about)
    grown, _ = GrowableBundle.read(small).with_items(items)
    loaded = [scores(OnnxRecommender.load(path), log, last_item=1) for path in (small, folder)]
    error_before = np.abs(loaded[0] - loaded[1]).max()
    error = np.abs(scores(grown, log) - scores(exact, log)).max()
    assert error < 3.0 * error_before + 1e-3


def test_live_counts_of_a_grown_graph_can_be_replaced(tmp_path: Path) -> None:
    recommender, known, log = trained()
    whole, _ = catalogues(located=True)
    folder = write(tmp_path / "known", recommender.net, known, log)
    grown, _ = GrowableBundle.read(folder).with_items(new_items(whole, recommender.net))
    assert grown.reads_activity
    counts = count_priors(log, whole).activity.numpy()
    counts[0, -1] = 9.0
    changed = grown.with_activity(counts)
    assert np.abs(scores(changed, log) - scores(grown, log))[:, -1].max() > 1e-3
    with pytest.raises(Exception, match=r"broadcast|dimension|shape"):
        scores(grown.with_activity(counts[:, :-1]), log)


def test_a_bundle_is_left_as_it_is(tmp_path: Path) -> None:
    recommender, known, log = trained()
    whole, _ = catalogues(located=True)
    bundle = GrowableBundle.read(write(tmp_path / "known", recommender.net, known, log))
    items = new_items(whole, recommender.net)
    first, _ = bundle.with_items(items)
    again, _ = bundle.with_items(items)
    np.testing.assert_array_equal(scores(first, log), scores(again, log))


def test_every_table_of_items_has_a_rule() -> None:
    of_items = {name for name, axes in _OPEN_AXES.items() if set(axes) & set(GROWING_AXES)}
    assert of_items == known_tables()


def test_a_graph_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    recommender, known, log = trained()
    folder = write(tmp_path / "known", recommender.net, known, log)
    model = onnx.load(folder / MODEL)
    del model.metadata_props[:]
    onnx.save(model, folder / MODEL)
    about = {"name": "net", "dataset": "city", "data_version": "1", "history_len": 32}
    write_bundle(folder, known, trained_until_s=0, **about)
    with pytest.raises(ArtifactError, match="exported before"):
        GrowableBundle.read(folder)
