"""Evaluation by the Python API: the package's own numbers, in a table with intervals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chronotope as ct
from chronotope.contracts.errors import ConfigError, NotEnoughData
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries
from chronotope.metrics import evaluate, summarise_metrics
from chronotope.splitting import targets_between
from tests.plugin_package import TRENDING, install_package


class AlwaysSame:
    """A model of a user's own, by the protocol alone."""

    name, history_len = "always same", 1

    def fit(self, log: EventLog, catalog: Catalog) -> "AlwaysSame":
        self.n_items = catalog.n_items
        return self

    def observe(self, log: EventLog) -> None:
        pass

    def scores(self, queries: Queries) -> Any:
        return np.zeros((len(queries), self.n_items))


@pytest.fixture(scope="module")
def evaluation(log: ct.Log) -> ct.Evaluation:
    models: list[Any] = [ct.Popularity(), ct.UserCounts(), AlwaysSame()]
    models.append(ct.Recommender(transfer_epochs=0))
    return ct.evaluate(models, log, ct.split.rolling(log, k=2), max_targets=300)


def test_metrics_are_those_of_the_pipelines(log: ct.Log) -> None:
    fold = ct.split.latest(log)
    table = ct.evaluate(ct.UserCounts(), log, fold, max_targets=None).table()
    positions = targets_between(log.events, fold.test_start_s, fold.test_end_s)
    model = ct.UserCounts().fit(log.events.before(fold.train_end_s), log.index)
    result = evaluate(model, log.events, positions, n_items=log.index.n_items, time_given=True)
    expected = summarise_metrics(result)
    for metric in ("acc_1", "acc_10", "ndcg_10", "mrr"):
        assert table.loc[model.name, metric] == pytest.approx(expected[metric])


def test_the_frame_is_tidy_with_intervals_and_slices(evaluation: ct.Evaluation) -> None:
    frame = evaluation.frame
    assert list(frame.columns)[:3] == ["model", "slice", "metric"]
    assert ((frame["low"] <= frame["value"]) & (frame["value"] <= frame["high"])).all()
    assert set(frame["slice"]) == {"all", "return", "discovery"}
    assert frame.loc[frame["slice"] == "all", "n_targets"].eq(600).all()


def test_the_model_beats_popularity_which_beats_a_constant(evaluation: ct.Evaluation) -> None:
    ndcg = evaluation.table()["ndcg_10"]
    assert ndcg["chronotope"] > ndcg["popularity"] > ndcg["always same"]
    assert evaluation.compare("chronotope", "popularity").p_value < 0.01


def test_baselines_and_installed_models_are_evaluated_by_name(
    log: ct.Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_package(tmp_path / "site", TRENDING, monkeypatch)
    split = ct.split.latest(log)
    table = ct.evaluate(["popularity", "trending"], log, split, max_targets=50).table()
    assert set(table.index) == {"popularity", "trending"}
    with pytest.raises(ConfigError, match=r"trendy.*Known are popularity.*trending"):
        ct.evaluate("trendy", log, split)


def test_only_models_of_time_are_calibrated(evaluation: ct.Evaluation) -> None:
    assert list(evaluation.times) == ["chronotope"]
    assert 0.5 < evaluation.times["chronotope"].coverage_80 <= 1


def test_models_that_were_passed_stay_as_they_were(log: ct.Log, fitted: ct.Recommender) -> None:
    expected = fitted.recommend(3)
    ct.evaluate(fitted, log, ct.split.latest(log), max_targets=50)
    assert fitted.recommend(3).equals(expected)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"metrics": ["recall"]}, "recall.*ndcg_k"),
        ({"slices": ["tall"]}, "tall.*cold_user"),
        ({"models": [ct.Popularity]}, "classes must be called"),
        ({"models": []}, "No model"),
        ({"models": [AlwaysSame(), AlwaysSame()]}, "one name"),
    ],
    ids=["metric", "slice", "class", "no model", "same name"],
)
def test_bad_requests_are_explained(log: ct.Log, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ct.evaluate(options.pop("models", ct.Popularity()), log, ct.split.latest(log), **options)


def test_a_short_log_cannot_be_split(log: ct.Log) -> None:
    with pytest.raises(NotEnoughData, match="fewer folds"):
        ct.split.rolling(log.before("2024-01-01T12:00"), k=20)
    with pytest.raises(ConfigError, match=r"k: .*; received 0\.$"):
        ct.split.rolling(log, k=0)


def test_the_table_marks_the_best_model(evaluation: ct.Evaluation) -> None:
    page = evaluation._repr_html_()
    assert page.index("class=best><td>chronotope") < page.index("<td>popularity")
    assert "600 targets" in repr(evaluation)
    with pytest.raises(ConfigError, match="No such slice"):
        evaluation.table("tall")


def test_figures_draw_what_was_measured(evaluation: ct.Evaluation, log: ct.Log) -> None:
    figures = [
        ct.plot.accuracy(evaluation),
        ct.plot.calibration(evaluation),
        ct.plot.map(log),
        ct.plot.item_space(log, n_items=40),
    ]
    assert [len(figure.axes) for figure in figures] == [1] * 4
    assert figures[0]._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="Metrics are"):
        ct.plot.accuracy(evaluation, "recall")
    with pytest.raises(ConfigError, match="predict items only"):
        ct.plot.calibration(evaluation, "popularity")
