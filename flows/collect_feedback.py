"""Ingest new interactions, and retrain the champion when that is worth it."""

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
from flows.train_model import (
    compress,
    evaluate,
    promote,
    promotion_markdown,
    publish,
    report,
    train,
)

_COUNT_FIELDS = ("n_read", "n_new", "n_duplicates", "n_quarantined")


class FeedbackResult(BaseModel):
    """Result of the flow ``collect-feedback``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intake: FeedbackSummary = Field(description="Interactions read, by outcome")
    decision: RetrainPlan = Field(description="Whether to retrain, and why")
    promotion: PromotionResult | None = Field(
        None, description="Decision of the gate; None without a retraining"
    )


@flow(name="collect-feedback", result_serializer="json")
def collect_feedback(
    dataset: str,
    feedback: FeedbackConfig = FeedbackConfig(),  # noqa: B008 - frozen
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
    engine: EngineConfig = EngineConfig(),  # noqa: B008 - frozen
) -> FeedbackResult:
    """Ingest new interactions, decide whether to retrain, then retrain, gate and promote.

    Interactions come from the service's log, from ``*.jsonl`` files in
    ``data/inbox/<dataset>``, and from the table that the dataset names. A second run without
    new interactions changes nothing; a run that was killed resumes after its last finished step.

    Args:
        dataset: Name of a file in conf/datasets, or the path of such a YAML file.
        feedback: When to retrain, and which interactions are refused.
        ingestion: Location and checks of the data.
        engine: Where the challenger and the baselines are evaluated.
    """
    name = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir).name
    with dataset_lock_in_flow(Workspace(ingestion.root), name):
        intake = ingest_interactions(dataset, feedback, ingestion)
        if intake.version is None:
            plan = RetrainPlan(action="nothing", reasons=("the lake holds no events",))
            return FeedbackResult(intake=intake, decision=plan)
        features = write_features(dataset, ingestion)
        plan = decide(name, features, feedback, ingestion)
        promotion = None
        if plan.inputs is not None:
            data = TrainingData(counts=intake.event_counts(), features=features)
            promotion = retrain(name, plan, plan.inputs, data, ingestion, engine)
        publish_feedback(name, intake, plan, promotion)
    return FeedbackResult(intake=intake, decision=plan, promotion=promotion)


def retrain(
    dataset: str,
    plan: RetrainPlan,
    inputs: RetrainingInputs,
    data: TrainingData,
    ingestion: IngestSettings,
    engine: EngineConfig,
) -> PromotionResult:
    """Train a challenger of the champion, evaluate it, and promote it if it passes the gate.

    Args:
        dataset: Name of the dataset.
        plan: Decision to retrain.
        inputs: Folders and cut-off of the retraining.
        data: Counts of the new interactions, and the feature snapshot.
        ingestion: Its root is the project's.
        engine: Where the challenger and the baselines are evaluated.
    """
    workspace = Workspace(ingestion.root)
    champion_settings = read_settings(inputs.champion_run_dir, ingestion.root)
    settings = champion_settings.model_copy(update={"engine": engine})
    record_retraining_start(dataset, plan, workspace)
    try:
        evaluation, promotion, written = _train_and_promote(plan, inputs, data, settings)
    except Exception:
        record_retraining_failure(dataset, workspace)
        raise
    publish(dataset, evaluation, promotion, written)
    link_runs(ingestion.root, promotion)
    if plan.version is not None:
        record_retraining_end(dataset, plan.version, workspace)
    return promotion


def _train_and_promote(
    plan: RetrainPlan, inputs: RetrainingInputs, data: TrainingData, settings: TrainSettings
) -> tuple[HoldoutEvaluation, PromotionResult, WrittenReport]:
    features, run_dir, data_version = inputs.features, inputs.run_dir, data.features.data_version
    inherited = prepare_retraining(inputs, settings)
    model_path = train_challenger(plan.mode, inputs, settings, inherited.params)
    compression = compress(features, settings, run_dir, model_path, data_version)
    evaluation = evaluate(features, settings, run_dir, compression.bundle)
    promotion = promote(features, settings, run_dir, compression.bundle, evaluation)
    summary = TrainingSummary(
        fold_ndcg=inherited.fold_ndcg,
        columns=inherited.columns,
        compression=compression,
        evaluation=evaluation,
        promotion=promotion,
    )
    return evaluation, promotion, report(run_dir, settings, data, summary)


@task(**TASK)
def ingest_interactions(
    dataset: str, feedback: FeedbackConfig, ingestion: IngestSettings
) -> FeedbackSummary:
    """Read interactions behind the watermark; good ones go to the lake, others to quarantine.

    Args:
        dataset: Name or YAML file.
        feedback: Which interactions are refused.
        ingestion: Location and checks of the data.
    """
    spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir)
    workspace = Workspace(ingestion.root)
    table_url = _secret_table_url(spec)
    intake = run_intake(Intake(spec, workspace, ingestion.suites, feedback, table_url))
    for file_name, reason in intake.set_aside.items():
        get_run_logger().warning("Set aside in the inbox: %s: %s", file_name, reason)
    lake = Lake(workspace.lake(spec.name))
    version = lake.version("events") if lake.exists("events") else None
    counts = asdict(intake) | {"reasons": dict(intake.reasons)}
    n_good = intake.n_new + intake.n_duplicates
    return FeedbackSummary(**counts, n_good=n_good, version=version)


@task(**TASK)
def decide(
    dataset: str, features: FeatureSnapshot, feedback: FeedbackConfig, ingestion: IngestSettings
) -> RetrainPlan:
    """Decide whether to retrain on the events that no retraining has used yet.

    Args:
        dataset: Name of the dataset.
        features: Result of ``write_features``.
        feedback: Bounds and mode, and whether a retraining is forced.
        ingestion: Its root is the project's.
    """
    version = DataVersion.parse(features.data_version).events
    return plan_retraining(dataset, features.path, version, Workspace(ingestion.root), feedback)


@task(**TASK)
def prepare_retraining(inputs: RetrainingInputs, settings: TrainSettings) -> InheritedParameters:
    """Split time behind the champion's training, and take its parameters over.

    Args:
        inputs: Folders and cut-off of the retraining.
        settings: Settings of the champion.
    """
    run_step(
        inputs.run_dir,
        "freeze_folds",
        str,
        freeze_later_folds,
        inputs.features,
        settings,
        inputs.run_dir,
        inputs.champion_trained_until_s,
    )
    return run_step(
        inputs.run_dir,
        "inherit_parameters",
        InheritedParameters,
        inherit_parameters,
        inputs,
        settings,
    )


@task(**TASK)
def train_challenger(
    mode: str, inputs: RetrainingInputs, settings: TrainSettings, params: dict[str, Any]
) -> Path:
    """Warm-start from the champion's network, or train a new one with its parameters.

    Args:
        mode: ``warm`` or ``full``.
        inputs: Folders of the retraining.
        settings: Settings of the champion.
        params: Parameters of the champion.
    """
    if mode == "full":
        return train.fn(inputs.features, settings, inputs.run_dir, params)
    return run_step(
        inputs.run_dir,
        "warm_start",
        Path,
        warm_start,
        inputs.features,
        inputs.run_dir,
        inputs.champion_run_dir / MODEL_FILE,
        inputs.champion_features,
    )


@task(**TASK)
def publish_feedback(
    dataset: str, intake: FeedbackSummary, plan: RetrainPlan, promotion: PromotionResult | None
) -> None:
    """Show the interactions, the decision with its reasons, and the result of a retraining.

    Args:
        dataset: Name of the dataset.
        intake: Result of ``ingest_interactions``.
        plan: Decision on a retraining.
        promotion: Result of ``retrain``, if there was one.
    """
    key = f"feedback-{dataset.replace('_', '-')}"
    counts = {name.removeprefix("n_"): getattr(intake, name) for name in _COUNT_FIELDS}
    counts |= {f"quarantined: {reason}": count for reason, count in intake.reasons.items()}
    table_rows = [{"what": label, "rows": count} for label, count in counts.items()]
    create_table_artifact(
        markdown_rows(table_rows), key=key, description="Interactions since the last run"
    )
    decision_text = decision_markdown(plan) + set_aside_markdown(intake.set_aside)
    decision_text += f"\n\n{promotion_markdown(promotion)}" if promotion else ""
    create_markdown_artifact(
        decision_text, key=f"{key}-decision", description="Decision on a retraining, and why"
    )
    get_run_logger().info("%d read, %d new. %s", intake.n_read, intake.n_new, decision_text)


def decision_markdown(plan: RetrainPlan) -> str:
    """Decision on a retraining with its reasons, as Markdown.

    Args:
        plan: The decision.
    """
    mode = f" ({plan.mode})" if plan.mode else ""
    reason_lines = "\n".join(f"- {markdown_text(reason)}" for reason in plan.reasons)
    return f"**Decision: {plan.action}{mode}.**\n\n{reason_lines}"


def set_aside_markdown(set_aside: dict[str, str]) -> str:
    """Files of the inbox that were not ingested, with the reason, as Markdown; "" without any.

    Args:
        set_aside: Reason by file name.
    """
    file_lines = [f"- `{name.replace('`', ' ')}`: {reason}" for name, reason in set_aside.items()]
    if not file_lines:
        return ""
    return "\n\n**Set aside in the inbox.**\n\n" + "\n".join(file_lines)


def _secret_table_url(spec: DatasetSpec) -> str | None:
    """Address of the dataset's table from its Secret block; None if it names none."""
    if spec.feedback is None or spec.feedback.block is None:
        return None
    return str(Secret.load(spec.feedback.block).get())  # type: ignore[union-attr]
