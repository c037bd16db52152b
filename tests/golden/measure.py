"""Numbers that a change of names or of layout must not move, measured anew.

    python -m tests.golden.measure

writes the JSON files beside this module. Run it only for a change that is meant to move
scores, and say so in the commit.
"""

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.next_place import read_stream
from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.artifact.open_bundle import open_bundle
from chronotope.compression.export import export_onnx
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries, queries_at
from chronotope.features.snapshot import load_features
from chronotope.metrics import evaluate, summarise_metrics
from chronotope.models.config import ModelConfig
from chronotope.registry.manual_promotion import promote_by_hand
from chronotope.serving.api.app import create_app
from chronotope.serving.settings import ServeSettings
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from tests.flows.feedback_town import Town
from tests.real_data import CHECK_INS
from tests.serving.town import LocalClient

FOLDER: Final = Path(__file__).parent
N_QUERIES: Final = 4
N_TOP: Final = 5

Golden = dict[str, Any]


def measure_city(root: Path) -> Golden:
    """The simulated town through the flows: scores, a served answer, a decision, a report.

    Args:
        root: Empty folder to work in; a Prefect server must be at hand.
    """
    town = Town(root).settle()
    training = town.train()
    bundle = training.compression.bundle
    log, catalog = load_features(training.ingestion.features.path)
    (trained,) = town.workspace.runs("town").glob("*/model.pt")
    model = ChronotopeRecommender.load(trained, catalog)
    queries = latest_queries(log, model.history_len)
    promotion = training.promotion
    if not promotion.promoted:
        promote_by_hand(town.root, "town", promotion.version, "the test needs a champion")
    served = serve(town, log, catalog)
    town.log(town.later()[:400])
    feedback = town.collect(min_rows=100_000)
    return {
        "torch": top_scores(model.scores(queries)),
        "onnx": top_scores(open_bundle(bundle).scores(queries)),
        "served": served,
        "feedback": {
            "action": feedback.decision.action,
            "n_read": feedback.intake.n_read,
            "n_new": feedback.intake.n_new,
            "psi": feedback.decision.shift.psi,
        },
        "report": report_numbers(trained.parent / "report" / "metrics.json"),
    }


def measure_check_ins(folder: Path) -> Golden:
    """Real check-ins: scores of a short training and its accuracy.

    Args:
        folder: Empty folder for the graph.
    """
    stream = read_stream(CHECK_INS)
    base = stream.base.take(np.isin(stream.base.user_idx, np.arange(1, 61)))
    log = stream.log.take(np.isin(stream.log.user_idx, np.arange(1, 61)))
    model = ChronotopeRecommender(
        ModelConfig(history_len=32), TrainingConfig(max_epochs=1, n_rounds=2, seed=0)
    ).fit(base, stream.catalog)
    export_onnx(model.net, model.priors, folder / MODEL)
    manifest = {"name": "golden", "dataset": "check_ins", "data_version": "0", "history_len": 32}
    write_bundle(folder, stream.catalog, trained_until_s=int(base.occurred_s.max()), **manifest)
    queries = latest_queries(log, model.history_len)
    targets = np.arange(len(log))[-400:]
    outcomes = evaluate(model, log, targets, n_items=stream.catalog.n_items, time_given=True)
    return {
        "torch": top_scores(model.scores(queries)),
        "onnx": top_scores(open_bundle(folder).scores(queries)),
        "accuracy": {
            name: summarise_metrics(outcomes)[name] for name in ("acc_1", "acc_10", "mrr")
        },
    }


def latest_queries(log: EventLog, history_len: int | None) -> Queries:
    """Queries for the last event of the log's last users."""
    last = np.flatnonzero(np.diff(log.user_idx, append=-1) != 0)[-N_QUERIES:]
    return queries_at(log, last, history_len=history_len, time_given=True)


def top_scores(scores_BI: npt.NDArray[np.floating]) -> Golden:
    """The likeliest items of each query with their scores, and the mean of all scores."""
    finite = np.where(np.isfinite(scores_BI), scores_BI, 0.0).astype(np.float64)
    top = np.argsort(-finite, axis=1, kind="stable")[:, :N_TOP]
    return {
        "item_idx": top.tolist(),
        "score": np.take_along_axis(finite, top, axis=1).round(6).tolist(),
        "mean": finite.mean(axis=1).round(6).tolist(),
    }


def serve(town: Town, log: EventLog, catalog: Catalog) -> Golden:
    """What the service recommends to the last user at the end of the log."""
    moment = datetime.fromtimestamp(int(log.occurred_s.max()), tz=UTC).isoformat()
    user_id = catalog.users.ids[int(log.user_idx[-1]) - 1].as_py()
    settings = ServeSettings(dataset="town", root=town.root)
    with LocalClient(create_app(settings)) as client:
        reply = client.post(
            "/recommend", json={"user_id": user_id, "request_time": moment, "k": N_TOP}
        )
        forecast = client.post("/predict", json={"user_id": user_id, "request_time": moment})
    assert reply.status_code == forecast.status_code == 200, (reply.text, forecast.text)
    items, when = reply.json()["items"], forecast.json()["time_forecast"]
    return {
        "item_ids": [item["id"] for item in items],
        "probability": [round(item["probability"], 6) for item in items],
        "median_h": round(when["median_h"], 4),
        "interval_h": [round(when["low_h"], 4), round(when["high_h"], 4)],
    }


def report_numbers(path: Path) -> Golden:
    """Accuracy of every model in the report, by the names of the metrics in papers."""
    models = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    metrics = ("acc_1", "acc_10", "ndcg_10", "mrr")
    return {model: [round(row[name], 6) for name in metrics] for model, row in models.items()}


def main() -> None:
    """Measure everything and write the files."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(120), tempfile.TemporaryDirectory() as folder:
        write("city", measure_city(Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        write("check_ins", measure_check_ins(Path(folder)))


def write(name: str, golden: Golden) -> None:
    """Store what was measured."""
    text = json.dumps(golden, indent=1) + "\n"
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
