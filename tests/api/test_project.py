"""From a notebook to a project: a dataset of the flows, a version that the service serves."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import chronotope as ct
from chronotope.contracts.errors import ConfigError
from chronotope.datasets.loading import load_spec
from chronotope.feedback.config import FeedbackConfig
from chronotope.inference.recommend import recommend
from chronotope.ingestion.source_batches import read_batches
from chronotope.lake.interaction_log import Interaction, InteractionLog
from chronotope.pipelines.run_dir import read_settings, write_settings
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api.app import create_app
from chronotope.serving.settings import ServeSettings
from flows import without_heartbeat
from flows.collect_feedback import collect_feedback
from flows.ingest_events import IngestSettings
from tests.api.conftest import COLUMNS
from tests.serving.town import LocalClient


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    return tmp_path


def test_a_dataset_has_the_events_and_features_of_the_log(log: ct.Log, project: Path) -> None:
    cafe = log.to_dataset("cafe")
    assert sorted(cafe.rows["event_id"].to_pylist()) == sorted(log.rows["event_id"].to_pylist())
    np.testing.assert_array_equal(cafe.events.item_idx, log.events.item_idx)
    np.testing.assert_array_equal(cafe.events.utc_offset_min, log.events.utc_offset_min)
    assert cafe.index.item_title.tolist() == log.index.item_title.tolist()
    assert cafe.users() == log.users()


def test_the_flow_reads_the_same_events_from_the_yaml(log: ct.Log, project: Path) -> None:
    log.to_dataset("cafe")
    batches = read_batches(load_spec("cafe"), 100_000)
    ids = [event_id for batch in batches for event_id in batch.rows["event_id"].to_pylist()]
    assert sorted(ids) == sorted(log.rows["event_id"].to_pylist())


def test_refused_rows_come_along(frame: object, project: Path) -> None:
    broken = pd.DataFrame({"u": [1, 1, None], "i": ["a", "b", "a"], "t": ["2024-03-01"] * 3})
    small = ct.Log.from_frame(broken, user="u", item="i", time="t")
    assert len(small.to_dataset("small").quarantine()) == 1


@pytest.mark.parametrize(
    ("name", "text"), [("Cafe 1", "name"), ("cafe", "already")], ids=["invalid", "taken"]
)
def test_a_name_has_to_be_valid_and_free(log: ct.Log, project: Path, name: str, text: str) -> None:
    (project / "conf/datasets").mkdir(parents=True)
    (project / "conf/datasets/cafe.yaml").touch()
    with pytest.raises(ConfigError, match=text):
        log.to_dataset(name)


def test_only_a_model_of_a_project_is_registered(fitted: ct.Recommender) -> None:
    with pytest.raises(ConfigError, match="to_dataset"):
        fitted.register()
    with pytest.raises(ConfigError, match="not fitted"):
        ct.Recommender().register()


@pytest.mark.slow
def test_api_command_and_service_give_equal_scores_for_a_version(
    log: ct.Log, project: Path
) -> None:
    cafe = log.to_dataset("cafe")
    model = ct.Recommender(transfer_epochs=0).fit(cafe)
    version = model.register(promote=True)
    served = ct.Recommender.from_registry(cafe, version)
    user, moment = cafe.users()[0], cafe.next_second
    by_api = served.recommend(user, moment, k=10)
    command = recommend(project, "cafe", str(user), moment)
    with LocalClient(create_app(ServeSettings(dataset="cafe", root=project))) as client:
        request = {"user_id": str(user), "request_time": moment.isoformat(), "k": 10}
        by_service = client.post("/recommend", json=request).json()
    assert by_service["version"] == command.version == version
    items = by_api["item"].tolist()
    assert items == [item.id for item in command.items]
    assert items == [item["id"] for item in by_service["items"]]
    probabilities = by_api["probability"].tolist()
    assert probabilities == pytest.approx([item.probability for item in command.items], abs=1e-6)
    assert probabilities == pytest.approx(
        [item["probability"] for item in by_service["items"]], abs=1e-6
    )
    assert model.recommend(user, moment)["probability"].tolist() == pytest.approx(
        probabilities, abs=1e-5
    )


def quick(settings: TrainSettings) -> TrainSettings:
    """The same settings with one candidate of the compression and few targets."""
    fields = settings.model_dump()
    fields["compression"] |= {"variants": ["int8_tables"], "pruned_units": 0.0}
    return TrainSettings.model_validate(fields | {"max_holdout_targets": 200})


@pytest.mark.slow
def test_feedback_retrains_the_dataset_of_a_notebook(
    frame: pd.DataFrame, project: Path, prefect: None
) -> None:
    """Registered by hand, it is succeeded by what the flow learns from later events."""
    visits = frame.sort_values("occurred_at")
    known, later = visits.iloc[:4_000], visits.iloc[4_000:5_000]
    cafe = ct.Log.from_frame(known, **COLUMNS).to_dataset("cafe")
    ct.Recommender(transfer_epochs=0, history_len=16).fit(cafe).register(promote=True)
    (run_dir,) = Workspace(project).runs("cafe").glob("api-*")
    write_settings(run_dir, quick(read_settings(run_dir, project)))
    payloads = [
        {"user_id": str(user), "item_id": item, "occurred_at": moment.isoformat()}
        for user, item, moment in later.itertuples(index=False)
    ]
    with closing(InteractionLog(Workspace(project).interactions("cafe"))) as log:
        log.append(
            [
                Interaction(key=f"k{seq}", kind="event", payload=payload)
                for seq, payload in enumerate(payloads)
            ]
        )
    with without_heartbeat():
        result = collect_feedback(
            "cafe",
            FeedbackConfig(min_rows=100),
            IngestSettings(root=project, data_docs=False),
            EngineConfig(),
        )
    assert result.intake.n_new == len(later)
    assert (result.decision.action, result.decision.mode) == ("retrain", "warm")
    assert result.promotion is not None
    assert (result.promotion.version, result.promotion.previous) == ("2", "1")
    served = ct.Recommender.from_registry(cafe, "2")
    assert len(served.recommend(cafe.users()[0])) == 10
