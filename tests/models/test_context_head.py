"""Context columns reach the gates and the items, and what is unknown changes nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from chronotope.artifact.bundle import write_bundle
from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.compression.export import export_onnx
from chronotope.contracts.event_log import EventLog
from chronotope.contracts.queries import Queries, queries_at
from chronotope.models.batch import to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.context_head import ContextHead
from chronotope.models.item_tables import ItemTables
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from chronotope.testing.recommender_suite import sample_catalog, sample_log

COLUMNS = ("rain_mm", "temperature_c")


def weathered_log() -> EventLog:
    log, rng = sample_log(), np.random.default_rng(3)
    rain = rng.gamma(1.0, 2.0, len(log)).astype(np.float32)
    rain[::7] = np.nan
    return replace(log, context={"rain_mm": rain, "temperature_c": 15 - rain})


def asked(log: EventLog, *, time_given: bool = True) -> Queries:
    return queries_at(log, np.arange(300, 320), history_len=16, time_given=time_given)


def network(log: EventLog) -> ChronotopeNet:
    torch.manual_seed(0)
    net = ChronotopeNet(ModelConfig(history_len=16, context=COLUMNS), sample_catalog()).eval()
    net.context_head.measure(log)
    for part in (net.context_head.context_layer, net.gate[-1]):
        torch.nn.init.normal_(part.weight, std=0.3)  # as if it had learned
    return net


def test_columns_are_scaled_by_what_was_known_and_clamped() -> None:
    log = weathered_log()
    part = ContextHead(COLUMNS, ItemTables(sample_catalog()))
    part.measure(log)
    known = log.context["rain_mm"][np.isfinite(log.context["rain_mm"])].astype(np.float64)
    np.testing.assert_allclose(part.mean[0], known.mean(), rtol=1e-6)
    np.testing.assert_allclose(part.scale[0], known.std(), rtol=1e-6)
    told = replace(asked(log), context={"rain_mm": np.full(20, 1e9, np.float32)})
    np.testing.assert_allclose(part(to_batch(told, 16, COLUMNS))[0], [5.0, 0.0, 1.0, 0.0])


def test_a_hidden_request_tells_no_context_and_an_unknown_one_is_as_good() -> None:
    log, net = weathered_log(), network(weathered_log())
    priors = count_priors(log, sample_catalog())
    assert not asked(log, time_given=False).context
    unknown = {name: np.full(20, np.nan, np.float32) for name in COLUMNS}
    nothing, nans, rain = (
        net(to_batch(replace(asked(log), context=of), 16, COLUMNS), priors).item_scores
        for of in ({}, unknown, asked(log).context)
    )
    torch.testing.assert_close(nothing, nans, rtol=0, atol=0)
    assert (nothing - rain).abs().max() > 0.1


def test_candidates_score_as_in_the_whole_catalogue() -> None:
    log, net = weathered_log(), network(weathered_log())
    batch = to_batch(asked(log), 16, COLUMNS)
    some = torch.cat([torch.zeros(1, dtype=torch.int64), batch.item_idx.unique()]).unique()
    priors = count_priors(log, sample_catalog())
    whole, chosen = net(batch, priors).item_scores, net(batch, priors, some).item_scores
    torch.testing.assert_close(chosen[:, 1:], whole[:, some[1:]], rtol=1e-5, atol=1e-5)


def test_the_exported_graph_listens_too(tmp_path: Path) -> None:
    log, net = weathered_log(), network(weathered_log())
    priors, catalog = count_priors(log, sample_catalog()), sample_catalog()
    export_onnx(net, priors, tmp_path / "model.onnx")
    about = {"name": "x", "dataset": "x", "data_version": "1", "trained_until_s": 0}
    write_bundle(tmp_path, catalog, history_len=16, context=COLUMNS, **about)
    model, queries = OnnxRecommender.load(tmp_path), asked(log)
    for some in (queries, replace(queries, context={}), queries.take(slice(3, 4))):
        expected = net(to_batch(some, 16, COLUMNS), priors).item_scores.detach().numpy()
        np.testing.assert_allclose(model.scores(some), expected, rtol=1e-4, atol=1e-4)
