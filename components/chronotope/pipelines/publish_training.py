"""Publication of a training's report with its MLflow run and its registered version."""

from chronotope.pipelines.results import ColumnSelection, RegisteredVersion, WrittenReport
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.lineage import describe_version
from chronotope.registry.mlflow_store import RunTracker, open_store


def publish_training(
    settings: TrainSettings,
    registered: RegisteredVersion,
    written: WrittenReport,
    columns: ColumnSelection,
) -> str:
    """Store report, model card, metrics and plots with the run; the card describes the version.

    Args:
        settings: Settings with the root of MLflow's store.
        registered: The registered version.
        written: Result of ``write_report``.
        columns: What the kinds of content are worth, which becomes metrics of the run.

    Returns:
        Id of the MLflow run.
    """
    store = open_store(settings.workspace.mlruns)
    tracker = RunTracker(store.client, registered.run_id)
    tracker.artifact(written.card.parent, folder="report")
    content_metrics = {
        name: value for worth in columns.modalities for name, value in worth.metrics().items()
    }
    if content_metrics:
        tracker.metrics(content_metrics)
    card_text = written.card.read_text(encoding="utf-8")
    describe_version(store, registered.name, registered.version, card_text)
    tracker.note(card_text)
    return tracker.run_id


def is_published_run(registered: RegisteredVersion, run_id: str) -> bool:
    """Whether a stored publication belongs to the run of a registered version."""
    return run_id == registered.run_id
