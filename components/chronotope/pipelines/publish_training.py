"""Show in MLflow what a training left to look at."""

from pathlib import Path

from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.lineage import describe_version
from chronotope.registry.mlflow_store import RunTracker, open_store


def publish_training(
    settings: TrainSettings, registered: dict[str, str], written: dict[str, str]
) -> str:
    """Keep report, card, metrics and drawings with the run; the card describes the version.

    Args:
        settings: Where MLflow's store lies.
        registered: ``name``, ``version`` and ``run_id`` of the registered bundle.
        written: What ``report_training`` returned.

    Returns:
        The run they are kept with.
    """
    store, card = open_store(settings.workspace.mlruns), Path(written["card"])
    tracker = RunTracker(store.client, registered["run_id"])
    tracker.artifact(card.parent, folder="report")
    words = card.read_text(encoding="utf-8")
    describe_version(store, registered["name"], registered["version"], words)
    tracker.note(words)
    return tracker.run_id
