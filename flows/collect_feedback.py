"""Flow ``collect-feedback``: ingest new interactions, and retrain the champion if necessary."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.blocks.system import Secret
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.data_version import DataVersion
from chronotope.contracts.escaping import markdown_rows, markdown_text
from chronotope.datasets.loading import load_spec
from chronotope.datasets.spec import DatasetSpec
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.intake import Intake, run_intake
from chronotope.feedback.retrain_plan import (
    plan_retraining,
    record_retraining_end,
    record_retraining_failure,
    record_retraining_start,
)
from chronotope.feedback.retrain_results import RetrainPlan
from chronotope.lake import Lake
from chronotope.lake.privacy import read_privacy
from chronotope.pipelines.pretraining.start import retraining_settings
from chronotope.pipelines.results import (
    FeatureSnapshot,
    FeedbackSummary,
    HoldoutEvaluation,
    InheritedParameters,
    PromotionResult,
    RetrainingInputs,
    TrainingData,
    TrainingSummary,
    WrittenReport,
)
from chronotope.pipelines.retrain import freeze_later_folds, inherit_parameters, warm_start
from chronotope.pipelines.run_dir import read_settings
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import MODEL_FILE
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.step_cache import run_step
from chronotope.runtime.workspace import Workspace
from flows import dataset_lock_in_flow
from flows.ingest_events import TASK, IngestSettings, write_features
from flows.link_runs import link_runs
from flows.merge_posted_items import merge_posted_items
from flows.privacy.private_lake import open_private_lake
from flows.train_model import (
    compress,
    evaluate,
    promote,
    promotion_markdown,
    publish,
    report,
    train,
)

_COUNT_FIELDS = ("n_read", "n_new", "n_duplicates", "n_quarantined", "n_dropped")


class FeedbackResult(BaseModel):
    """Result of the flow ``collect-feedback``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intake: FeedbackSummary = Field(description="Counts of the collected interactions, by outcome")
    decision: RetrainPlan = Field(description="Decision whether to retrain, with reasons")
    promotion: PromotionResult | None = Field(
        None, description="Decision of the gate; None if no model was retrained"
    )


@flow(name="collect-feedback", result_serializer="json")
def collect_feedback(
    dataset: str,
    feedback: FeedbackConfig = FeedbackConfig(),  # noqa: B008 - frozen
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
    engine: EngineConfig = EngineConfig(),  # noqa: B008 - frozen
) -> FeedbackResult:
    """Ingest new interactions, decide whether to retrain, then retrain, gate and promote.

    Sources of interactions are the service's log, ``*.jsonl`` files in ``data/inbox/<dataset>``,
    and the SQL table in the dataset's YAML. A second run without new interactions changes
    nothing; a run that was killed resumes after its last finished step.

    Args:
        dataset: Name of a file in conf/datasets, or path of such a YAML file.
        feedback: Conditions of a retraining, and limits beyond which interactions are refused.
        ingestion: Location, reading and validation of the data.
        engine: Task engine that evaluates the challenger and the baselines.
    """
    dataset_name = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir).name
    with dataset_lock_in_flow(Workspace(ingestion.root), dataset_name):
        intake = ingest_interactions(dataset, feedback, ingestion)
        if intake.version is None:
            retrain_plan = RetrainPlan(action="nothing", reasons=("the lake contains no events",))
            return FeedbackResult(intake=intake, decision=retrain_plan)
        merge_posted_items(dataset, ingestion)
        feature_snapshot = write_features(dataset, ingestion)
        retrain_plan = decide(dataset_name, feature_snapshot, feedback, ingestion)
        promotion = None
        if retrain_plan.inputs is not None:
            training_data = TrainingData(counts=intake.event_counts(), features=feature_snapshot)
            promotion = retrain(
                dataset_name, retrain_plan, retrain_plan.inputs, training_data, ingestion, engine
            )
        publish_feedback(dataset_name, intake, retrain_plan, promotion)
    return FeedbackResult(intake=intake, decision=retrain_plan, promotion=promotion)


def retrain(
    dataset: str,
    retrain_plan: RetrainPlan,
    retraining_inputs: RetrainingInputs,
    training_data: TrainingData,
    ingestion: IngestSettings,
    engine: EngineConfig,
) -> PromotionResult:
    """Train a challenger, evaluate it, and promote it if it passes the gate.

    Args:
        dataset: Name of the dataset.
        retrain_plan: Decision to retrain.
        retraining_inputs: Folders and time cut-off of the retraining.
        training_data: Counts of the new interactions, and the feature snapshot.
        ingestion: Ingestion settings; only the project root is used.
        engine: Task engine that evaluates the challenger and the baselines.
    """
    root_workspace = Workspace(ingestion.root)
    champion_settings = read_settings(retraining_inputs.champion_run_dir, ingestion.root)
    min_users = read_privacy(Lake(root_workspace.lake(dataset))).settings.min_group_users
    settings = retraining_settings(champion_settings).for_groups_of(min_users)
    settings = settings.model_copy(update={"engine": engine})
    record_retraining_start(dataset, retrain_plan, root_workspace)
    try:
        holdout_evaluation, promotion, written_report = _train_and_promote(
            retrain_plan, retraining_inputs, training_data, settings
        )
    except Exception:
        record_retraining_failure(dataset, root_workspace)
        raise
    publish(dataset, holdout_evaluation, promotion, written_report)
    link_runs(ingestion.root, promotion)
    if retrain_plan.version is not None:
        record_retraining_end(dataset, retrain_plan.version, root_workspace)
    return promotion


def _train_and_promote(
    retrain_plan: RetrainPlan,
    retraining_inputs: RetrainingInputs,
    training_data: TrainingData,
    settings: TrainSettings,
) -> tuple[HoldoutEvaluation, PromotionResult, WrittenReport]:
    feature_snapshot, run_dir, data_version = (
        retraining_inputs.features,
        retraining_inputs.run_dir,
        training_data.features.data_version,
    )
    inherited_parameters = prepare_retraining(retraining_inputs, settings)
    model_path = train_challenger(
        retrain_plan.mode, retraining_inputs, settings, inherited_parameters.params
    )
    compression_summary = compress(feature_snapshot, settings, run_dir, model_path, data_version)
    holdout_evaluation = evaluate(feature_snapshot, settings, run_dir, compression_summary.bundle)
    promotion = promote(
        feature_snapshot, settings, run_dir, compression_summary.bundle, holdout_evaluation
    )
    training_summary = TrainingSummary(
        fold_ndcg=inherited_parameters.fold_ndcg,
        columns=inherited_parameters.columns,
        compression=compression_summary,
        evaluation=holdout_evaluation,
        promotion=promotion,
    )
    return holdout_evaluation, promotion, report(run_dir, settings, training_data, training_summary)


@task(**TASK)
def ingest_interactions(
    dataset: str, feedback: FeedbackConfig, ingestion: IngestSettings
) -> FeedbackSummary:
    """Ingest interactions after the watermark; invalid ones are quarantined.

    Args:
        dataset: Name or YAML file of the dataset.
        feedback: Limits beyond which interactions are refused.
        ingestion: Location, reading and validation of the data.
    """
    dataset_spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir)
    root_workspace = Workspace(ingestion.root)
    event_lake = open_private_lake(dataset_spec, ingestion.root)
    table_url = _secret_table_url(dataset_spec)
    intake = run_intake(
        Intake(dataset_spec, root_workspace, ingestion.suites_dir, feedback, table_url)
    )
    for file_name, reason in intake.set_aside.items():
        get_run_logger().warning("Set aside in the inbox: %s: %s", file_name, reason)
    version = event_lake.version("events") if event_lake.exists("events") else None
    intake_counts = asdict(intake) | {
        "reasons": dict(intake.reasons),
        "dropped": dict(intake.dropped),
    }
    n_good = intake.n_new + intake.n_duplicates
    return FeedbackSummary(**intake_counts, n_good=n_good, version=version)


@task(**TASK)
def decide(
    dataset: str,
    feature_snapshot: FeatureSnapshot,
    feedback: FeedbackConfig,
    ingestion: IngestSettings,
) -> RetrainPlan:
    """Decide whether to retrain on the events that no training has used yet.

    Args:
        dataset: Name of the dataset.
        feature_snapshot: Result of ``write_features``.
        feedback: Thresholds and mode of a retraining, and whether it is forced.
        ingestion: Ingestion settings; only the project root is used.
    """
    version = DataVersion.parse(feature_snapshot.data_version).events
    return plan_retraining(
        dataset, feature_snapshot.path, version, Workspace(ingestion.root), feedback
    )


@task(**TASK)
def prepare_retraining(
    retraining_inputs: RetrainingInputs, settings: TrainSettings
) -> InheritedParameters:
    """Freeze folds after the champion's training period, and copy its hyper-parameters.

    Args:
        retraining_inputs: Folders and time cut-off of the retraining.
        settings: Settings of the champion.
    """
    run_step(
        retraining_inputs.run_dir,
        "freeze_folds",
        str,
        freeze_later_folds,
        retraining_inputs.features,
        settings,
        retraining_inputs.run_dir,
        retraining_inputs.champion_trained_until_s,
    )
    return run_step(
        retraining_inputs.run_dir,
        "inherit_parameters",
        InheritedParameters,
        inherit_parameters,
        retraining_inputs,
        settings,
    )


@task(**TASK)
def train_challenger(
    mode: str,
    retraining_inputs: RetrainingInputs,
    settings: TrainSettings,
    model_params: dict[str, Any],
) -> Path:
    """Train the challenger: warm start from the champion's network, or from scratch.

    Args:
        mode: ``warm`` or ``full``.
        retraining_inputs: Folders of the retraining.
        settings: Settings of the champion.
        model_params: Hyper-parameters of the champion.
    """
    if mode == "full":
        return train.fn(
            retraining_inputs.features, settings, retraining_inputs.run_dir, model_params
        )
    return run_step(
        retraining_inputs.run_dir,
        "warm_start",
        Path,
        warm_start,
        retraining_inputs.features,
        retraining_inputs.run_dir,
        retraining_inputs.champion_run_dir / MODEL_FILE,
        retraining_inputs.champion_features,
        settings,
    )


@task(**TASK)
def publish_feedback(
    dataset: str,
    intake: FeedbackSummary,
    retrain_plan: RetrainPlan,
    promotion: PromotionResult | None,
) -> None:
    """Create artifacts with the interaction counts, the decision and the result of a retraining.

    Args:
        dataset: Name of the dataset.
        intake: Result of ``ingest_interactions``.
        retrain_plan: Decision on a retraining.
        promotion: Result of ``retrain``; None if no model was retrained.
    """
    artifact_key = f"feedback-{dataset.replace('_', '-')}"
    intake_counts = {
        field_name.removeprefix("n_"): getattr(intake, field_name) for field_name in _COUNT_FIELDS
    }
    intake_counts |= {f"quarantined: {reason}": n_rows for reason, n_rows in intake.reasons.items()}
    table_rows = [
        {"outcome": row_label, "rows": n_rows} for row_label, n_rows in intake_counts.items()
    ]
    create_table_artifact(
        markdown_rows(table_rows), key=artifact_key, description="Interactions since the last run"
    )
    decision_text = decision_markdown(retrain_plan) + set_aside_markdown(intake.set_aside)
    decision_text += f"\n\n{promotion_markdown(promotion)}" if promotion else ""
    create_markdown_artifact(
        decision_text,
        key=f"{artifact_key}-decision",
        description="Decision on a retraining, with reasons",
    )
    get_run_logger().info("%d read, %d new. %s", intake.n_read, intake.n_new, decision_text)


def decision_markdown(retrain_plan: RetrainPlan) -> str:
    """Decision on a retraining with its reasons, as Markdown.

    Args:
        retrain_plan: The decision.
    """
    mode = f" ({retrain_plan.mode})" if retrain_plan.mode else ""
    reason_lines = "\n".join(f"- {markdown_text(reason)}" for reason in retrain_plan.reasons)
    return f"**Decision: {retrain_plan.action}{mode}.**\n\n{reason_lines}"


def set_aside_markdown(set_aside: dict[str, str]) -> str:
    """Files of the inbox that were not ingested, with the reason, as Markdown; "" if none.

    Args:
        set_aside: Reason by file name.
    """
    file_lines = [
        f"- `{file_name.replace('`', ' ')}`: {reason}" for file_name, reason in set_aside.items()
    ]
    if not file_lines:
        return ""
    return "\n\n**Set aside in the inbox.**\n\n" + "\n".join(file_lines)


def _secret_table_url(dataset_spec: DatasetSpec) -> str | None:
    """Database address of the dataset's SQL table, from its Secret block; None without a block."""
    if dataset_spec.feedback is None or dataset_spec.feedback.block is None:
        return None
    return str(Secret.load(dataset_spec.feedback.block).get())  # type: ignore[union-attr]
