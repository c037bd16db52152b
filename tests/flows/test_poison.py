"""One account that floods and rows of garbage do not spoil what clean users are told."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from chronotope.anomalies import behaviour_features
from chronotope.anomalies.alert_threshold import learn_threshold
from chronotope.anomalies.behaviour_features import mean_value
from chronotope.anomalies.behaviour_log import read_behaviour_log
from chronotope.anomalies.detector_files import DetectorBundle
from chronotope.anomalies.fit_detectors import AutoencoderDetector
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.datasets.city import CityConfig
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events
from chronotope.datasets.simulation import simulate_events
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.feedback import anomaly_guard
from chronotope.feedback.anomaly_guard import ANOMALOUS
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.intake import Intake, IntakeReport, inbox_dir, run_intake
from chronotope.feedback.payloads import NO_OBJECT
from chronotope.feedback.rate_guard import FLOOD
from chronotope.metrics import evaluate, ndcg
from chronotope.models.config import ModelConfig
from chronotope.pipelines.retrain import freeze_later_folds, warm_start
from chronotope.pipelines.settings import TrainSettings
from chronotope.splitting.targets import targets_between
from chronotope.training.anomaly import NetworkConfig
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from flows.ingest_events import write_features
from tests.flows.feedback_town import COLUMNS, YAML, Town

pytestmark = pytest.mark.slow

CITY = CityConfig(
    n_events=6_000, n_users=300, n_items=60, days=60, seed=3, cold_users=0.0, cold_items=0.0
)
FLOOD_SHARE, GARBAGE_SHARE = 0.20, 0.05
SETTINGS = TrainSettings.model_validate({"folds": {"holdout_quantile": 0.95, "k": 1}})
ITEMS_ARE_PLACES = FeaturesConfig(items_are_places=True)
GARBAGE: list[Any] = [
    "no JSON at all",
    {"user_id": "u1", "item_id": "p0001"},
    {"user_id": "u1", "item_id": "p0001", "occurred_at": "one of these days"},
    {"user_id": "u1", "occurred_at": "2024-02-20T10:00:00Z"},
    {"user_id": "u1", "item_id": "p0001", "occurred_at": "2999-01-01T00:00:00Z"},
    {"user_id": "u1", "item_id": "p0001", "occurred_at": "2024-02-20T10:00:00Z", "lat": 999},
]


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    """Everything that happens in the town, in the order of time."""
    return pa.concat_tables(simulate_events(CITY)).sort_by("occurred_at").select(COLUMNS)


@pytest.mark.parametrize("with_detector", [False, True])
def test_clean_users_are_told_as_well_as_without_the_poison(
    rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_detector: bool
) -> None:
    n_known, n_told = int(0.6 * len(rows)), int(0.9 * len(rows))
    known, news = rows.slice(0, n_known), payloads(rows.slice(n_known, n_told - n_known))
    clean, poisoned = settled(tmp_path / "clean", known), settled(tmp_path / "poisoned", known)
    champion, features = trained(clean, tmp_path / "model.pt")
    if with_detector:
        bundle = detector_of(poisoned)
        monkeypatch.setattr(anomaly_guard, "champion_detector", lambda *_: bundle)
    deliver(clean, news)
    deliver(poisoned, [*news, *flood(news), *garbage(news)])
    taken = {town: taken_in(town) for town in (clean, poisoned)}
    log, catalog = whole(rows, tmp_path / "whole")
    judged = {
        town: ndcg_of_model(retrained(town, champion, features), log, catalog, n_told)
        for town in (clean, poisoned)
    }
    if with_detector:
        assert taken[clean].n_quarantined <= 0.03 * len(news)  # false alarms
        assert taken[poisoned].reasons[ANOMALOUS] > 0
        assert judged[poisoned] >= 0.995 * judged[clean], judged
        return
    assert (taken[clean].n_new, taken[clean].n_quarantined) == (len(news), 0)
    assert_refused(poisoned, taken[poisoned], news)
    assert judged[poisoned] >= 0.99 * judged[clean], judged


def detector_of(town: Town) -> DetectorBundle:
    """An autoencoder of what the town's lake knows, with 1 % false alarms."""
    behaviour = read_behaviour_log(town.lake.read("events"))
    features = behaviour_features(behaviour.log, behaviour.places)
    detector = AutoencoderDetector(NetworkConfig(n_epochs=5)).fit(features)
    surprise = detector.surprise(features)
    threshold = learn_threshold(
        surprise, false_alarm_rate=0.01, confidence=0.95, alerts_per_day=100
    )
    return DetectorBundle(detector, mean_value(behaviour.log), 7, threshold, 0)


def assert_refused(town: Town, taken: IntakeReport, news: Sequence[dict[str, Any]]) -> None:
    """All garbage and most of the flood lie in quarantine, each row with its reasons."""
    n_flood, n_garbage = sizes(len(news))
    typical = np.median(list(Counter(row["user_id"] for row in news).values()))
    kept = int(max(FeedbackConfig().rate_limit_rows, FeedbackConfig().rate_limit_factor * typical))
    assert taken.n_new == len(news) + kept
    assert taken.n_read == taken.n_new + taken.n_duplicates + taken.n_quarantined
    assert taken.n_quarantined == n_garbage + n_flood - kept
    reasons = town.lake.read("quarantine")["reasons"].to_pylist()
    assert len(reasons) == taken.n_quarantined
    assert all(reasons)
    assert sum(FLOOD in each for each in reasons) == n_flood - kept
    told = {why for each in reasons for why in each}
    assert {NO_OBJECT, "item_id is missing", "occurred_at is missing"} <= told
    assert len(told) >= len(GARBAGE) + 1


def payloads(rows: pa.Table) -> list[dict[str, Any]]:
    return [row | {"occurred_at": row["occurred_at"].isoformat()} for row in rows.to_pylist()]


def sizes(n_news: int) -> tuple[int, int]:
    """Rows of the flood and of garbage, as shares of all that is delivered."""
    n_all = n_news / (1 - FLOOD_SHARE - GARBAGE_SHARE)
    return round(FLOOD_SHARE * n_all), round(GARBAGE_SHARE * n_all)


def flood(news: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One account that is always at one place, at the times of the others."""
    n_flood, _ = sizes(len(news))
    at = np.linspace(0, len(news) - 1, n_flood).astype(int)
    return [{**news[k], "user_id": "spammer", "item_id": "p0007"} for k in at]


def garbage(news: Sequence[dict[str, Any]]) -> list[Any]:
    _, n_garbage = sizes(len(news))
    return [GARBAGE[k % len(GARBAGE)] for k in range(n_garbage)]


def settled(root: Path, known: pa.Table) -> Town:
    """A town whose lake holds what is known."""
    root.mkdir()
    pyarrow.csv.write_csv(known, root / "log.csv")
    (root / "town.yaml").write_text(YAML.format(folder=root), encoding="utf-8")
    town, spec = Town(root), load_spec(root / "town.yaml")
    for raw in read_events(spec):
        town.lake.merge_events(normalise(spec, raw).rows)
    return town


def deliver(town: Town, lines: Sequence[Any]) -> None:
    folder = inbox_dir(town.workspace, "town")
    folder.mkdir(parents=True)
    (folder / "news.jsonl").write_text(
        "".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8"
    )


def taken_in(town: Town) -> IntakeReport:
    spec = load_spec(town.spec)
    return run_intake(Intake(spec, town.workspace, Path("expectations"), FeedbackConfig()))


def snapshot(town: Town) -> Path:
    return write_features.fn(str(town.spec), town.ingestion()).path


def trained(town: Town, path: Path) -> tuple[Path, Path]:
    """A network that knows the town as it was, and the features it was trained on."""
    features = snapshot(town)
    log, catalog = load_features(features)
    training = TrainingConfig(max_epochs=2, n_rounds=2, batch_size=64)
    model = ChronotopeRecommender(ModelConfig(history_len=32, kernel_len=32), training)
    model.fit(log.before(int(log.occurred_s.max()) + 1), catalog).save(path)
    return path, features


def retrained(town: Town, champion: Path, earlier: Path) -> ChronotopeRecommender:
    """The network after it learned on from what the town's lake has by now."""
    features, run = snapshot(town), town.root / "run"
    until_s = int(load_features(earlier)[0].occurred_s.max())
    freeze_later_folds(features, SETTINGS, run, until_s)
    learned = Path(warm_start(features, run, champion, earlier))
    return ChronotopeRecommender.load(learned, load_features(features)[1])


def ndcg_of_model(
    model: ChronotopeRecommender, log: EventLog, catalog: Catalog, n_told: int
) -> float:
    """NDCG@10 on everything that clean users do later."""
    start_s = int(np.sort(log.occurred_s)[n_told])
    targets = targets_between(log, start_s, int(log.occurred_s.max()) + 1)
    found = evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)
    return float(ndcg(found.rank, 10).mean())


def whole(rows: pa.Table, out: Path) -> tuple[EventLog, Catalog]:
    """The log of the clean town to its end; its items are those of every model here."""
    n = len(rows)
    about = {"event_id": pa.array(map(str, range(n))), "event_type": pa.array(["check_in"] * n)}
    table = pa.table({**{name: rows[name] for name in COLUMNS}, **about})
    built = build_features(table, None, config=ITEMS_ARE_PLACES, out=out)
    return load_features(built.path)
