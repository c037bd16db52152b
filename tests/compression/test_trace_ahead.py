"""Graphs that are traced during the training are those that the compression exports."""

from dataclasses import replace
from pathlib import Path

import pytest

from chronotope.compression import export, trace_ahead
from chronotope.compression.config import CompressionConfig
from chronotope.compression.export import export_onnx, template_cache
from chronotope.compression.export_indexed import export_query_graph
from chronotope.compression.networks import candidate_recipes, make_network
from chronotope.compression.trace_ahead import Architecture
from chronotope.contracts.event_log import Catalog
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors, first_successors
from chronotope.runtime.store_urls import named_cache_dir
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from tests.models.test_factorized import loud, plain_catalog

CONFIG = ModelConfig(history_len=12, kernel_len=8)
CANDIDATES = CompressionConfig(successors=4, student_history_len=6, student_hidden=4)
INDEXED = CANDIDATES.model_copy(update={"index_above_items": 1})


def architecture(catalog: Catalog, compression: CompressionConfig, cache_dir: Path) -> Architecture:
    return Architecture(CONFIG, catalog, True, compression, cache_dir)


def export_all(
    catalog: Catalog, compression: CompressionConfig, cache_dir: Path, tmp_path: Path
) -> list[str]:
    """Names of the exported graphs of a network with other weights and other counts."""
    net = loud(ChronotopeNet(CONFIG, catalog))
    assert net.discovery_head is not None
    net.discovery_head.active = True
    priors = count_priors(sample_log(), catalog, affinity=True)
    graph_names = []
    for recipe in candidate_recipes(net, compression, catalog.n_items):
        export_graph = export_query_graph if recipe.n_codes else export_onnx
        export_graph(
            make_network(recipe, net, catalog, None),
            first_successors(priors, recipe.n_successors),
            tmp_path / f"{recipe.graph_name}.onnx",
            template_cache(cache_dir),
        )
        graph_names.append(recipe.graph_name)
    return graph_names


@pytest.mark.parametrize(
    ("catalog", "compression", "n_graphs"),
    [(sample_catalog(), CANDIDATES, 4), (plain_catalog(), INDEXED, 3)],
    ids=["tables", "index"],
)
def test_compression_exports_from_the_graphs_that_were_traced_ahead(
    catalog: Catalog,
    compression: CompressionConfig,
    n_graphs: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache_dir = named_cache_dir() or tmp_path / "cache"
    ahead = architecture(catalog, compression, cache_dir)
    ahead.trace()
    assert ahead.untraced() == []
    monkeypatch.setattr(export, "trace_template", None)  # no second trace
    assert len(set(export_all(catalog, compression, cache_dir, tmp_path))) == n_graphs


def test_a_stored_model_without_content_has_the_graphs_that_were_guessed(tmp_path: Path) -> None:
    guessed = architecture(sample_catalog(), CANDIDATES, tmp_path)
    stored = replace(guessed, config=CONFIG.model_copy(update={"content": False}))
    guessed_keys, stored_keys = (
        [export.template_key(spec) for spec in ahead.untraced()] for ahead in (guessed, stored)
    )
    assert guessed_keys == stored_keys
    assert len(guessed_keys) == 2  # the full and the narrow network share one, the student has one


def test_nothing_is_started_where_every_graph_is_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(trace_ahead, "start_in_background", started.append)
    ahead = architecture(sample_catalog(), CANDIDATES, tmp_path)
    trace_ahead.trace_ahead(ahead)
    assert len(started) == 1
    for spec in ahead.untraced():
        template_cache(tmp_path).get_or_make(export.template_key(spec), lambda: b"a graph")
    trace_ahead.trace_ahead(ahead)
    assert len(started) == 1


def test_a_problem_of_a_trace_is_left_to_the_compression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = architecture(sample_catalog(), CANDIDATES, tmp_path)
    monkeypatch.setattr(export, "trace_template", None)
    ahead.trace()
    assert ahead.untraced() != []
