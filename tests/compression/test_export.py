"""An export is traced once per architecture, and nothing of a weight stays behind in its graph."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from chronotope.artifact import graph_files
from chronotope.artifact.bundle import MODEL
from chronotope.artifact.graph_files import has_own_file
from chronotope.artifact.history_padding import HISTORY_LENGTHS, parse_lengths
from chronotope.compression import export
from chronotope.compression.config import Variant
from chronotope.compression.export import (
    export_onnx,
    history_lengths,
)
from chronotope.compression.export_indexed import export_query_graph
from chronotope.compression.graph_variants import derive_variant
from chronotope.compression.prune import prune_units
from chronotope.contracts.event_log import Catalog
from chronotope.contracts.ids import IdMap
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import Batch, to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.factorized import FactorizedNet
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors, count_priors, first_successors, without_events_of
from chronotope.testing.recommender_suite import sample_catalog, sample_content, sample_log
from tests.models.test_factorized import loud, plain_catalog

QUERIES = queries_at(sample_log(), np.arange(5, 390, 9), history_len=40, time_given=True)
RAIN = {"rain": np.linspace(-1, 1, len(QUERIES)).astype(np.float32)}
EVERYTHING = ModelConfig(
    history_len=40,
    kernel_len=20,
    backbone="transformer",
    backbone_len=8,
    d_model=8,
    category_head=True,
    context=("rain",),
)
INDEXED = ModelConfig(history_len=12, kernel_len=8, backbone="two_tower", backbone_len=8, d_model=8)


def network(
    config: ModelConfig, catalog: Catalog | None = None, *, n_successors: int = 32
) -> tuple[ChronotopeNet, Priors]:
    catalog = catalog or sample_catalog()
    priors = count_priors(sample_log(), catalog, n_successors=n_successors)
    return loud(ChronotopeNet(config, catalog)), priors


def content_network(config: ModelConfig, catalog: Catalog) -> tuple[ChronotopeNet, Priors]:
    """A network that reads content, and priors of a log in which two items have no events."""
    catalog = replace(catalog, content=sample_content(catalog))
    net, priors = network(config, catalog)
    assert net.content_head is not None
    net.content_head.cold_weights.copy_(torch.tensor([0.7, 1.3, 0.5, -0.2]))
    net.content_head.metric.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    is_hidden = torch.arange(catalog.n_items) % 7 == 3
    return net, without_events_of(priors, catalog, is_hidden)


def run(
    path: Path, batch: Batch, *, optimized: bool = True, **more: Tensor
) -> list[npt.NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    if not optimized:  # opens in a quarter of the time
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {name: tensor.numpy() for name, tensor in (batch._asdict() | more).items()}
    read = [graph_input.name for graph_input in session.get_inputs()] + list(more)
    outputs: list[npt.NDArray[np.float32]] = session.run(
        None, {name: inputs[name] for name in read}
    )
    return outputs


def assert_close(outputs: list[npt.NDArray[np.float32]], expected: tuple[Tensor, ...]) -> None:
    for output, tensor in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output, tensor.detach().numpy(), atol=2e-3, rtol=1e-4)


def tables(net: ChronotopeNet, priors: Priors) -> Iterator[tuple[str, Tensor]]:
    yield from net.named_parameters()
    yield from net.named_buffers()
    yield from priors._asdict().items()


def perturbed(name: str, table: Tensor, net: ChronotopeNet) -> Tensor:
    """Other values of the same range."""
    generator = torch.Generator().manual_seed(len(name))
    if table.dtype == torch.int64:
        size = {
            "category": net.item_tables.n_categories,
            "cell": net.item_tables.n_cells,
            "modality_of_axis": 2,
        }
        high = size.get(name.rpartition(".")[2], net.item_tables.n_items)
        return torch.randint(0, high, table.shape, generator=generator)
    if name.endswith("located"):
        return torch.randint(0, 2, table.shape, generator=generator).float()
    noise = torch.rand(table.shape, generator=generator)
    return table.abs() + 0.5 + noise if name.endswith(("scale", "bin_weights")) else table + noise


def assert_bound(
    path: Path, net: ChronotopeNet, priors: Priors, *, indexed: bool, optimized: bool = False
) -> None:
    """The graph says what torch says for the tables as they are now."""
    queries = replace(QUERIES, context=RAIN)
    batch = to_batch(queries, net.config.history_len, net.config.context)
    with torch.no_grad():
        if not indexed:
            export_onnx(net, priors, path)
            assert_close(run(path, batch, optimized=optimized), net(batch, priors))
            return
        export_query_graph(net, priors, path)
        assert net.backbone is not None
        vectors = net.backbone.item_table(net.item_tables, priors)[batch.item_idx]
        expected = FactorizedNet(net)(batch, priors, vectors)
    assert_close(run(path, batch, optimized=optimized, vectors=vectors), expected)


@pytest.mark.slow
@pytest.mark.parametrize("indexed", [False, True])
def test_every_table_can_be_replaced(indexed: bool, tmp_path: Path) -> None:
    catalog = plain_catalog() if indexed else replace(sample_catalog(), items_are_places=False)
    net, priors = content_network(INDEXED if indexed else EVERYTHING, catalog)
    assert_bound(tmp_path / "model.onnx", net, priors, indexed=indexed, optimized=True)
    n_tables = 0
    for name, table in tables(net, priors):
        original, n_tables = table.detach().clone(), n_tables + 1
        table.data = perturbed(name, original, net)
        try:
            assert_bound(tmp_path / "model.onnx", net, priors, indexed=indexed)
        except AssertionError as error:
            raise AssertionError(f"the graph does not follow {name}") from error
        table.data = original
    assert n_tables > 60
    names = {name for name, _ in tables(net, priors)}
    assert {
        "content_popularity",
        "cold_share",
        "content_head.vectors",
        "content_head.cold_weights",
        "content_head.metric",
    } <= names


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(history_len=100),
        ModelConfig(history_len=40, kernel_len=20, backbone="gru", backbone_len=18),
        ModelConfig(history_len=40, backbone="transformer", backbone_len=20, d_model=8),
        ModelConfig(history_len=40, kernel_len=20, backbone="hstu", backbone_len=30),
        ModelConfig(history_len=40, kernel_len=20, repeat_kernels=False),
    ],
)
def test_a_history_of_any_length_is_read_as_by_torch(config: ModelConfig, tmp_path: Path) -> None:
    net, priors = network(config)
    export_onnx(net, priors, tmp_path / "model.onnx")
    metadata = {of.key: of.value for of in onnx.load(tmp_path / "model.onnx").metadata_props}
    lengths = parse_lengths(metadata[HISTORY_LENGTHS])
    assert lengths[-1] == config.history_len
    for length in lengths:
        batch = to_batch(QUERIES, length)
        assert_close(run(tmp_path / "model.onnx", batch), net(batch, priors))


@pytest.mark.slow
def test_a_catalogue_with_more_content_is_bound_to_the_same_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig(history_len=32)
    small = replace(sample_catalog(), items_are_places=False)
    export_onnx(*content_network(config, small), tmp_path / "small.onnx")
    monkeypatch.setattr(export, "trace_template", None)  # no second trace
    net, priors = content_network(config, grown(small, 30))
    export_onnx(net, priors, tmp_path / "grown.onnx")
    batch = to_batch(QUERIES, 32)
    assert_close(run(tmp_path / "grown.onnx", batch), net(batch, priors))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "atol"),
    [
        ("exact_tables", 2e-3),
        ("fp16_tables", 0.05),
        ("int8_tables", 0.5),
        ("int8_matmul", 0.5),
        ("int8_gather", 0.5),
        ("int4_gather", 4.0),
        ("pq_gather", 4.0),
    ],
)
def test_a_compressed_graph_reads_content(variant: Variant, atol: float, tmp_path: Path) -> None:
    catalog = grown(replace(sample_catalog(), items_are_places=False), 3_000)
    net, priors = content_network(ModelConfig(history_len=32), catalog)
    export_onnx(net, priors, tmp_path / "model.onnx")
    derive_variant(tmp_path / "model.onnx", tmp_path / "small.onnx", variant)
    batch = to_batch(QUERIES, 32)
    scores = run(tmp_path / "small.onnx", batch)[0][:, 1:]
    with torch.no_grad():
        expected = net(batch, priors).item_scores[:, 1:].numpy()
    np.testing.assert_allclose(scores, expected, atol=atol)
    order = np.corrcoef(scores.ravel(), expected.ravel())[0, 1]
    assert order > 0.98


def test_pruned_units_leave_the_content_head() -> None:
    catalog = replace(sample_catalog(), items_are_places=False)
    net, _ = content_network(ModelConfig(history_len=32), catalog)
    narrow = prune_units(net, 0.5)
    for name, table in net.state_dict().items():
        if name.startswith("content_head."):
            torch.testing.assert_close(narrow.state_dict()[name], table)


def grown(catalog: Catalog, n_more: int) -> Catalog:
    """More items, a further category, and as many places as before."""
    items = IdMap.of([f"i{n:03d}" for n in range(catalog.n_items - 1 + n_more)])
    more = np.full(n_more, 4, np.int32)
    return replace(
        catalog,
        items=items,
        categories=IdMap.of(["a", "b", "c", "d"]),
        item_category=np.r_[catalog.item_category, more],
        item_lat=np.r_[catalog.item_lat, np.full(n_more, 41.0)],
        item_lon=np.r_[catalog.item_lon, np.full(n_more, -41.0)],
        items_are_places=False,
    )


@pytest.mark.slow
def test_a_grown_or_pruned_network_is_bound_to_the_same_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig(history_len=32)
    small = replace(sample_catalog(), items_are_places=False)
    export_onnx(*network(config, small), tmp_path / "small.onnx")
    monkeypatch.setattr(export, "trace_template", None)  # no second trace
    longer = ModelConfig(history_len=64, dropout=0.5, d_model=8, n_layers=2, backbone_len=4)
    net, priors = network(longer, grown(small, 30), n_successors=5)
    export_onnx(net, priors, tmp_path / "grown.onnx")
    batch = to_batch(QUERIES, 32)
    assert_close(run(tmp_path / "grown.onnx", batch), net(batch, priors))
    narrow = prune_units(net, 0.5)
    export_onnx(narrow, priors, tmp_path / "narrow.onnx")
    assert_close(run(tmp_path / "narrow.onnx", batch), narrow(batch, priors))


def key_of(net: ChronotopeNet, priors: Priors) -> str:
    """Key under which the graph of a network is kept."""
    asked = []

    class Refusing:
        def get_or_make(self, key: str, make: object) -> bytes:
            asked.append(key)
            return onnx.ModelProto().SerializeToString()

    export_onnx(net, priors, Path("/dev/null"), Refusing())
    return asked[0]


def test_what_shapes_the_graph_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    net, priors = network(ModelConfig(history_len=32))
    first = key_of(net, priors)
    others = [
        key_of(*network(ModelConfig(history_len=32, n_components=8))),
        key_of(*network(ModelConfig(history_len=32, backbone="gru"))),
        key_of(*network(ModelConfig(history_len=32, context=("rain",)))),
        key_of(*network(ModelConfig(history_len=32), plain_catalog())),
    ]
    monkeypatch.setattr(export, "_code_digest", lambda: "other code")
    others.append(key_of(net, priors))
    assert len({first, *others}) == 1 + len(others)


def test_weights_and_open_sizes_are_no_part_of_the_key() -> None:
    net, priors = network(ModelConfig(history_len=32))
    first = key_of(net, priors)
    nn.init.normal_(net.gate[0].weight)
    assert key_of(net, first_successors(priors, 4)) == first
    assert key_of(*network(ModelConfig(history_len=100))) == first
    assert key_of(prune_units(net, 0.5), priors) == first


def test_settings_that_the_graph_does_not_read_are_no_part_of_the_key() -> None:
    unread = ModelConfig(history_len=32, dropout=0.5, d_model=8, n_layers=2, backbone_len=4)
    assert key_of(*network(unread)) == key_of(*network(ModelConfig(history_len=32)))
    gru = ModelConfig(history_len=32, backbone="gru", d_model=8, dropout=0.1)
    first = key_of(*network(gru))
    assert key_of(*network(gru.model_copy(update={"dropout": 0.4}))) == first
    read = ({"n_layers": 2}, {"d_model": 16}, {"backbone_len": 4})
    assert first not in {key_of(*network(gru.model_copy(update=change))) for change in read}


def test_older_events_are_read_where_the_kernels_read_fewer() -> None:
    both = history_lengths(ModelConfig(history_len=40, kernel_len=30))
    assert both.has_older
    assert (both.min_recent, both.max_recent) == (16, 30)
    assert history_lengths(ModelConfig(history_len=40, kernel_len=16)).min_recent == 16
    fixed = ModelConfig(history_len=40, kernel_len=20, backbone="gru", backbone_len=30)
    assert history_lengths(fixed).is_fixed


@pytest.mark.slow
def test_a_graph_with_tables_in_a_second_file_has_the_same_variants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a small network, as if its tables had more than two gigabytes."""
    catalog = grown(replace(sample_catalog(), items_are_places=False), 3_000)
    net, priors = network(ModelConfig(history_len=32), catalog)
    variants: tuple[Variant, ...] = ("float32", "int8_tables", "int8_gather", "pq_gather")
    scores: dict[tuple[int, str], list[npt.NDArray[np.float32]]] = {}
    for limit in (graph_files.MAX_INLINE_BYTES, 4096):
        monkeypatch.setattr(graph_files, "MAX_INLINE_BYTES", limit)
        graph_path = tmp_path / f"whole-{limit}" / MODEL
        graph_path.parent.mkdir()
        export_onnx(net, priors, graph_path)
        assert has_own_file(graph_path) == (limit == 4096)
        for variant in variants:
            variant_path = tmp_path / f"{variant}-{limit}" / MODEL
            variant_path.parent.mkdir()
            derive_variant(graph_path, variant_path, variant)
            scores[limit, variant] = run(variant_path, to_batch(QUERIES, 32))
    for variant in variants:
        for inline, external in zip(
            scores[2**31 - 2**20, variant], scores[4096, variant], strict=True
        ):
            np.testing.assert_array_equal(external, inline)


def test_the_discovery_head_is_in_the_graph_where_it_is_used(tmp_path: Path) -> None:
    config = ModelConfig(history_len=40, kernel_len=20)
    net, _ = network(config)
    priors = count_priors(sample_log(), sample_catalog(), affinity=True)
    assert net.discovery_head is not None
    net.discovery_head.active = True
    batch = to_batch(QUERIES, config.history_len)
    path = tmp_path / "model.onnx"
    for tables_of_graph in (priors, first_successors(priors, 4)):
        with torch.no_grad():
            export_onnx(net, tables_of_graph, path)
            assert_close(run(path, batch), net(batch, tables_of_graph))
    counts = priors._replace(activity=torch.rand_like(priors.activity) * 3.0)
    with torch.no_grad():
        expected = net(batch, counts)
    exact = {"float32", "exact_tables"}
    export_onnx(net, priors, path)
    for variant in ("float32", "exact_tables", "int8_tables", "int8_matmul", "int8_gather"):
        derive_variant(path, tmp_path / f"{variant}.onnx", variant)
        outputs = run(tmp_path / f"{variant}.onnx", batch, activity=counts.activity)
        if variant in exact:
            assert_close(outputs, expected)
        else:
            np.testing.assert_allclose(outputs[0], expected[0].numpy(), atol=0.3)
    active_key = key_of(net, priors)
    net.discovery_head.active = False
    assert key_of(net, priors) != active_key
    with torch.no_grad():
        export_onnx(net, priors, path)
        assert_close(run(path, batch), net(batch, priors))
    names = {table.name for table in onnx.load(path).graph.initializer}
    assert not {"activity", "affinity_item", "affinity_weight"} & names
