"""Take in what users did since, and retrain the champion when that is worth it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.blocks.system import Secret

from chronotope.contracts.data_version import DataVersion, TableVersion
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
from chronotope.lake import Lake
from chronotope.pipelines.retrain import freeze_later_folds, trained_parameters, warm_start
from chronotope.pipelines.run_dir import read_settings
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.step_cache import run_step
from chronotope.runtime.workspace import Workspace
from flows import dataset_lock_in_flow
from flows.ingest_events import TASK, IngestSettings, write_features
from flows.link_runs import link_runs
from flows.train_model import (
    compress,
    evaluate,
    promotion_markdown,
    publish,
    register_and_promote,
    report,
    train,
)


@flow(name="collect-feedback", result_serializer="json")
def collect_feedback(
    dataset: str,
    feedback: FeedbackConfig = FeedbackConfig(),  # noqa: B008 - frozen
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
    engine: EngineConfig = EngineConfig(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Take in new interactions, decide whether they are worth a training, retrain, promote.

    Interactions come from the service's log, from ``*.jsonl`` files dropped into
    ``data/inbox/<dataset>``, and from the table that the dataset names. Running it twice
    changes nothing; a run that was killed goes on after its last finished step.

    Args:
        dataset: Name of a file in conf/datasets, or the path of such a YAML file.
        feedback: When to retrain and what is kept out.
        ingestion: Where data are, and how rows are checked.
        engine: Where a challenger and its rivals are judged.

    Returns:
        ``taken`` (new + duplicates + quarantined = read), ``decision`` with its reasons, and
        ``promoted``: None without a retraining.
    """
    name = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir).name
    with dataset_lock_in_flow(Workspace(ingestion.root), name):
        taken = take_in_interactions(dataset, feedback, ingestion)
        if taken["version"] is None:
            decision = {"action": "nothing", "mode": "", "reasons": ["the lake holds no events"]}
            return {"taken": taken, "decision": decision, "promoted": None}
        features = write_features(dataset, ingestion)
        decision = plan_retraining_task(name, features, feedback, ingestion)
        promoted = None
        if decision["action"] == "retrain":
            counts = {"events": taken, "features": features}
            promoted = retrain(name, decision, counts, ingestion, engine)
        publish_feedback(name, taken, decision, promoted)
    return {"taken": taken, "decision": decision, "promoted": promoted}


def retrain(
    dataset: str,
    decision: dict[str, Any],
    taken: dict[str, Any],
    ingestion: IngestSettings,
    engine: EngineConfig,
) -> dict[str, Any]:
    """Train the champion's successor and let it win the place, or say why it does not.

    Args:
        dataset: Name of the dataset.
        decision: What ``plan_retraining_task`` returned.
        taken: Counts of the ``events`` and the ``features``.
        ingestion: Its root is where everything lies.
        engine: Where the challenger and its rivals are judged.

    Returns:
        What ``promote_bundle`` returned.
    """
    workspace, plan = Workspace(ingestion.root), decision["plan"]
    features, run = Path(plan["features"]), Path(plan["run"])
    kept = read_settings(Path(plan["champion_run"]), ingestion.root)
    settings = kept.model_copy(update={"engine": engine})
    record_retraining_start(dataset, decision, workspace)
    try:
        tuned = prepare_retraining(decision, settings)
        trained = train_challenger(decision, settings, tuned["params"])
        compressed = compress(features, settings, run, trained, taken["features"]["data_version"])
        bundle = Path(compressed["bundle"])
        judged = evaluate(features, settings, run, bundle)
        promoted = register_and_promote(features, settings, run, bundle, judged)
        found = {"compressed": compressed, "judged": judged, "promoted": promoted, "tuned": tuned}
        written = report(run, settings, taken, {**found, "selected": tuned["selected"]})
    except Exception:
        record_retraining_failure(dataset, workspace)
        raise
    publish(dataset, judged, promoted, written)
    link_runs(ingestion.root, promoted)
    record_retraining_end(dataset, TableVersion.parse(decision["version"]), workspace)
    return promoted


@task(**TASK)
def take_in_interactions(
    dataset: str, feedback: FeedbackConfig, ingestion: IngestSettings
) -> dict[str, Any]:
    """Read what is new since the watermark; good rows to the lake, others to quarantine.

    Args:
        dataset: Name or YAML file.
        feedback: Guards.
        ingestion: Where things are.

    Returns:
        The fields of ``Taken``, ``n_good``, and ``version`` of the events, None without any.
    """
    spec = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir)
    workspace = Workspace(ingestion.root)
    url = _address(spec)
    found = run_intake(Intake(spec, workspace, ingestion.suites, feedback, url))
    for name, reason in found.set_aside.items():
        get_run_logger().warning("Set aside in the inbox: %s: %s", name, reason)
    lake = Lake(workspace.lake(spec.name))
    version = lake.version("events") if lake.exists("events") else None
    counts = {**asdict(found), "reasons": dict(found.reasons)}
    return {**counts, "n_good": found.n_new + found.n_duplicates, "version": version}


@task(**TASK)
def plan_retraining_task(
    dataset: str, features: dict[str, Any], feedback: FeedbackConfig, ingestion: IngestSettings
) -> dict[str, Any]:
    """Decide what to do with the events that no retraining has weighed yet.

    Args:
        dataset: Name of the dataset.
        features: What ``write_features`` returned.
        feedback: Bounds, mode, and whether somebody insists.
        ingestion: Its root is where everything lies.
    """
    version = DataVersion.parse(features["data_version"]).events
    workspace = Workspace(ingestion.root)
    return plan_retraining(dataset, Path(features["path"]), version, workspace, feedback)


@task(**TASK)
def prepare_retraining(decision: dict[str, Any], settings: TrainSettings) -> dict[str, Any]:
    """Cut time behind the champion's training, and take its parameters over.

    Args:
        decision: What ``plan_retraining_task`` returned.
        settings: The champion's.

    Returns:
        ``params``, and ``folds`` and ``selected`` as a search would have left them: empty.
    """
    plan = decision["plan"]
    features, run = Path(plan["features"]), Path(plan["run"])
    cut = lambda: freeze_later_folds(features, settings, run, plan["after_s"])  # noqa: E731
    run_step(run, "freeze_folds", cut)
    params = run_step(run, "take_parameters", lambda: _taken_over(plan, settings))
    return dict(params)


@task(**TASK)
def train_challenger(
    decision: dict[str, Any], settings: TrainSettings, params: dict[str, Any]
) -> Path:
    """Let the champion's network learn on, or train a new one with its parameters.

    Args:
        decision: What ``plan_retraining_task`` returned.
        settings: The champion's.
        params: Its parameters.
    """
    plan = decision["plan"]
    features, run = Path(plan["features"]), Path(plan["run"])
    if decision["mode"] == "full":
        return train.fn(features, settings, run, params)
    champion, earlier = Path(plan["champion_run"]) / "model.pt", Path(plan["champion_features"])
    return Path(run_step(run, "warm_start", lambda: warm_start(features, run, champion, earlier)))


@task(**TASK)
def publish_feedback(
    dataset: str, taken: dict[str, Any], decision: dict[str, Any], promoted: dict[str, Any] | None
) -> None:
    """Show what came in, what was decided and why, and what became of it.

    Args:
        dataset: Name of the dataset.
        taken: What ``take_in_interactions`` returned.
        decision: What ``plan_retraining_task`` returned.
        promoted: What ``retrain`` returned, if anything.
    """
    key = f"feedback-{dataset.replace('_', '-')}"
    names = ("n_read", "n_new", "n_duplicates", "n_quarantined")
    rows = [{"what": name.removeprefix("n_"), "rows": taken[name]} for name in names]
    rows += [{"what": f"quarantined: {why}", "rows": n} for why, n in taken["reasons"].items()]
    create_table_artifact(
        markdown_rows(rows), key=key, description="Interactions since the last run"
    )
    words = decision_markdown(decision) + set_aside_of(taken)
    words += f"\n\n{promotion_markdown(promoted)}" if promoted else ""
    create_markdown_artifact(words, key=f"{key}-decision", description="Retrain or not, and why")
    get_run_logger().info("%d read, %d new. %s", taken["n_read"], taken["n_new"], words)


def decision_markdown(decision: dict[str, Any]) -> str:
    """A decision and its reasons, as Markdown.

    Args:
        decision: What ``plan_retraining_task`` returned.
    """
    mode = f" ({decision['mode']})" if decision["mode"] else ""
    reasons = "\n".join(f"- {markdown_text(reason)}" for reason in decision["reasons"])
    return f"**Decision: {decision['action']}{mode}.**\n\n{reasons}"


def set_aside_of(taken: dict[str, Any]) -> str:
    """Files of the inbox that were not taken in, and why, as Markdown; "" without any.

    Args:
        taken: What ``take_in_interactions`` returned.
    """
    lines = [
        f"- `{name.replace('`', ' ')}`: {reason}" for name, reason in taken["set_aside"].items()
    ]
    return "\n\n**Set aside in the inbox.**\n\n" + "\n".join(lines) if lines else ""


def _address(spec: DatasetSpec) -> str | None:
    """What the Secret block of the dataset's table holds; None if it names none."""
    if spec.feedback is None or spec.feedback.block is None:
        return None
    return str(Secret.load(spec.feedback.block).get())  # type: ignore[union-attr]


def _taken_over(plan: dict[str, Any], settings: TrainSettings) -> dict[str, Any]:
    params = trained_parameters(Path(plan["champion_run"]), settings)
    selected = {"kept": params.get("context", []), "columns": []}
    return {"params": params, "folds": {}, "selected": selected}
