"""Compress a trained model again for another objective, and let it win the place."""

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from pydantic import BaseModel, ConfigDict, Field

from chronotope.compression.selection import CompressionConfig
from chronotope.pipelines import recompress
from chronotope.pipelines.compress import compress_model as compress_network
from chronotope.pipelines.recompress import RecompressionSource, VersionSelector
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.step_cache import run_step
from chronotope.runtime.workspace import Workspace
from flows import dataset_lock_in_flow
from flows.ingest_events import TASK
from flows.link_runs import link_runs
from flows.train_model import evaluate, publish, register_and_promote, report, show_candidates


class CompressSettings(BaseModel):
    """Which model is compressed again, and for what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root, below which stores lie")
    which: VersionSelector = Field(
        "champion", description="The champion's network, or that of the latest version"
    )
    objective: CompressionConfig = Field(
        CompressionConfig(), description="What is tried, and what it may cost"
    )


@flow(name="compress-model", result_serializer="json")
def compress_model(
    dataset: str,
    settings: CompressSettings = CompressSettings(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Compress a trained model for another objective, judge it, and promote it if it holds.

    Nothing is trained again that was kept. A run that was killed goes on after its last
    finished step; the same model and objective twice is once.

    Args:
        dataset: Name of a dataset that was trained on.
        settings: Which model, and the objective.

    Returns:
        ``version`` (which was compressed), ``compressed``, ``stopped`` (why nothing was
        registered), and ``judged`` and ``promoted``: None if so.
    """
    with dataset_lock_in_flow(Workspace(settings.root), dataset):
        origin = recompress.find_source(settings.root, dataset, settings.which)
        told = recompress.settings_with_objective(origin, settings.root, settings.objective)
        run = recompress.recompression_dir(origin, told)
        return compress_locked(origin, told, run)


def compress_locked(
    origin: RecompressionSource, settings: TrainSettings, run: Path
) -> dict[str, Any]:
    """What ``compress_model`` does once nobody else works on the dataset."""
    taken = copy_training(origin, settings, run)
    compressed = recompress_task(origin, settings, run)
    bundle = Path(compressed["bundle"])
    why_stop = recompress.stop_reason(origin, run, compressed)
    told = {"version": origin.version, "compressed": compressed, "stopped": why_stop}
    if why_stop:
        get_run_logger().info("Nothing is registered: %s", why_stop)
        return {**told, "judged": None, "promoted": None}
    judged = evaluate(origin.features, settings, run, bundle)
    promoted = register_and_promote(origin.features, settings, run, bundle, judged)
    found = {"tuned": taken, "selected": taken["selected"], "compressed": compressed}
    found |= {"judged": judged, "promoted": promoted}
    written = report(run, settings, recompress.read_ingested(run), found)
    publish(run.parent.name, judged, promoted, written)
    link_runs(settings.root, promoted)
    return {**told, "judged": judged, "promoted": promoted, **written}


@task(**TASK)
def copy_training(
    origin: RecompressionSource, settings: TrainSettings, run: Path
) -> dict[str, Any]:
    """Begin a run with the folds, the network and the parameters of the version.

    Args:
        origin: The version.
        settings: Its own, with the new objective.
        run: Folder of the new run.
    """
    work = lambda: recompress.copy_training_results(origin, settings, run)  # noqa: E731
    return dict(run_step(run, "take_parameters", work))


@task(**TASK)
def recompress_task(
    origin: RecompressionSource, settings: TrainSettings, run: Path
) -> dict[str, Any]:
    """Choose among the kept candidates and what the objective asks for beside them.

    Args:
        origin: The version.
        settings: Its own, with the new objective.
        run: Folder of the new run.
    """
    work = lambda: compress_network(  # noqa: E731
        origin.features,
        settings,
        run,
        run / "model.pt",
        origin.data_version,
        made_in=origin.network,
    )
    found = dict(run_step(run, "compress_model", work))
    show_candidates(run.parent.name, found)
    return found
