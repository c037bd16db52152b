"""Flow ``compress-model``: compress a trained model again, for another objective."""

from pathlib import Path

from prefect import flow, get_run_logger, task
from pydantic import BaseModel, ConfigDict, Field

from chronotope.compression.config import CompressionConfig
from chronotope.pipelines import recompress
from chronotope.pipelines.compress import compress_model as compress_trained_model
from chronotope.pipelines.recompress import RecompressionSource, VersionSelector
from chronotope.pipelines.results import (
    CompressionSummary,
    InheritedParameters,
    RecompressionResult,
    TrainingSummary,
)
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import MODEL_FILE
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.step_cache import run_step
from chronotope.runtime.workspace import Workspace
from flows import dataset_lock_in_flow
from flows.ingest_events import TASK
from flows.link_runs import link_runs
from flows.train_model import evaluate, promote, publish, report, show_candidates


class CompressSettings(BaseModel):
    """Settings of the flow ``compress-model``: the model and the objective."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root, the parent folder of all stores")
    which: VersionSelector = Field(
        "champion", description="Model to compress: the champion or the latest registered version"
    )
    objective: CompressionConfig = Field(
        CompressionConfig(),
        description="Candidates to evaluate, and limits on cost and loss of accuracy",
    )


@flow(name="compress-model", result_serializer="json")
def compress_model(
    dataset: str,
    settings: CompressSettings = CompressSettings(),  # noqa: B008 - frozen
) -> RecompressionResult:
    """Compress a trained model for another objective, evaluate it, and promote it if it passes.

    Networks of earlier candidates are reused, not trained again. A run that was killed resumes
    after its last finished step; a second run with the same model and objective changes nothing.

    Args:
        dataset: Name of a dataset with a trained model.
        settings: Model to compress, and the objective.
    """
    with dataset_lock_in_flow(Workspace(settings.root), dataset):
        recompression_source = recompress.find_source(settings.root, dataset, settings.which)
        train_settings = recompress.settings_with_objective(
            recompression_source, settings.root, settings.objective
        )
        run_dir = recompress.recompression_dir(recompression_source, train_settings)
        return compress_locked(recompression_source, train_settings, run_dir)


def compress_locked(
    recompression_source: RecompressionSource, settings: TrainSettings, run_dir: Path
) -> RecompressionResult:
    """Body of ``compress_model``; the caller holds the dataset's lock."""
    inherited_parameters = copy_training(recompression_source, settings, run_dir)
    compression_summary = compress_again(recompression_source, settings, run_dir)
    stop_reason = recompress.stop_reason(recompression_source, run_dir, compression_summary)
    if stop_reason:
        get_run_logger().info("Nothing is registered: %s", stop_reason)
        return RecompressionResult(
            version=recompression_source.version,
            compression=compression_summary,
            stop_reason=stop_reason,
        )
    holdout_evaluation = evaluate(
        recompression_source.features, settings, run_dir, compression_summary.bundle
    )
    promotion_result = promote(
        recompression_source.features,
        settings,
        run_dir,
        compression_summary.bundle,
        holdout_evaluation,
    )
    training_summary = TrainingSummary(
        fold_ndcg=inherited_parameters.fold_ndcg,
        columns=inherited_parameters.columns,
        compression=compression_summary,
        evaluation=holdout_evaluation,
        promotion=promotion_result,
    )
    written_report = report(
        run_dir, settings, recompress.read_training_data(run_dir), training_summary
    )
    publish(run_dir.parent.name, holdout_evaluation, promotion_result, written_report)
    link_runs(settings.root, promotion_result)
    return RecompressionResult(
        version=recompression_source.version,
        compression=compression_summary,
        stop_reason="",
        evaluation=holdout_evaluation,
        promotion=promotion_result,
        report=written_report,
    )


@task(**TASK)
def copy_training(
    recompression_source: RecompressionSource, settings: TrainSettings, run_dir: Path
) -> InheritedParameters:
    """Copy folds, network and hyper-parameters of a version into the folder of a new run.

    Args:
        recompression_source: The version.
        settings: Settings of the version, with the new objective.
        run_dir: Folder of the new run.
    """
    return run_step(
        run_dir,
        "inherit_parameters",
        InheritedParameters,
        recompress.copy_training_results,
        recompression_source,
        settings,
        run_dir,
    )


@task(**TASK)
def compress_again(
    recompression_source: RecompressionSource, settings: TrainSettings, run_dir: Path
) -> CompressionSummary:
    """Select one of the stored candidates or of the candidates that the new objective adds.

    Args:
        recompression_source: The version.
        settings: Settings of the version, with the new objective.
        run_dir: Folder of the new run.
    """
    compression_summary = run_step(
        run_dir,
        "compress_model",
        CompressionSummary,
        compress_trained_model,
        recompression_source.features,
        settings,
        run_dir,
        run_dir / MODEL_FILE,
        recompression_source.data_version,
        candidates_run_dir=recompression_source.network_run_dir,
    )
    show_candidates(run_dir.parent.name, compression_summary)
    return compression_summary
