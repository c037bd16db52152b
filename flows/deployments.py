"""Deployments of the flows, with default parameters, schedules, triggers and concurrency limits.

``python -m flows.deployments --dataset NAME`` serves them from this process until Ctrl-C; with
``--work-pool POOL`` they are registered for the workers of a pool instead. Workers do not watch
the service's log; run ``python -m flows.watch_interactions`` in addition.
"""

import argparse
import os
from pathlib import Path
from typing import Any, Final, cast

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.flows import Flow
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from chronotope.datasets.loading import CONF_DIR, load_spec
from chronotope.datasets.locations import source_folders
from chronotope.feedback.config import FeedbackConfig
from chronotope.monitoring.config import MonitorConfig
from chronotope.pipelines.anomaly.settings import (
    ANOMALY_CONF_DIR,
    AnomalySettings,
    read_anomaly_settings,
)
from chronotope.pipelines.federated.settings import FederatedSettings
from chronotope.pipelines.pretraining.settings import PretrainSettings
from chronotope.pipelines.settings import TrainSettings, read_train_settings
from chronotope.runtime.allowed_paths import ALLOWED_ROOTS
from chronotope.scoring.config import ScoringConfig
from flows.abandoned_runs import end_abandoned_runs
from flows.anomalies.train_anomaly import train_anomaly
from flows.backfill_events import backfill_events
from flows.change_champion import PROMOTED, ChampionSettings, promote_model, roll_back_model
from flows.classify_items import ClassifySettings, classify_items
from flows.collect_feedback import collect_feedback
from flows.compress_model import CompressSettings, compress_model
from flows.embed_items import EmbedSettings, embed_items
from flows.erasure.forget_users import ErasureSettings, forget_users
from flows.federated.federated_train import federated_train
from flows.ingest_events import IngestSettings, ingest_events
from flows.monitor_drift import DRIFTED, monitor_drift
from flows.pretrain_model import pretrain_model
from flows.privacy.expire_data import RetentionSettings, expire_data
from flows.score_users import score_users
from flows.synthesis.synthesise_log import SynthesiseSettings, synthesise_log
from flows.train_model import train_model
from flows.watch_interactions import LOGGED, dataset_resource, watch_in_thread

CRON_BY_SLUG: Final = {
    "before-dawn": "0 2 * * *",
    "nightly": "0 3 * * *",
    "before-morning": "0 4 * * *",
    "morning": "0 5 * * *",
    "weekly": "0 1 * * 0",
    "weekly-later": "0 6 * * 0",
}
"""Cron schedules in UTC: monitoring at 2:00, feedback at 3:00, batch predictions at 4:00 and
retention at 5:00 every night; full training on Sundays at 1:00, anomaly detectors at 6:00."""

_EVENT_REASONS: Final = {
    "__prefect_kind": "json",
    "value": {"__prefect_kind": "jinja", "template": "{{ event.payload.reasons | tojson }}"},
}
"""Parameter template that Prefect's server fills with the reasons of the drift event."""

ONE_AT_A_TIME: Final = ConcurrencyLimitConfig(
    limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
)
"""One run per deployment: a second one waits; runs of other deployments wait for the lock."""


def deployments(
    dataset: str,
    name: str,
    *,
    training: TrainSettings,
    ingestion: IngestSettings,
    scheduled: bool = True,
) -> list[RunnerDeployment]:
    """The deployments of one dataset.

    Args:
        dataset: Name of a file in conf/datasets, or path of such a YAML file.
        name: Name of the dataset and of its deployments.
        training: Default settings of ``train-model``.
        ingestion: Default settings of the ingestion.
        scheduled: Whether the schedules are active; paused ones can be activated in the UI.
    """
    default_parameters = _default_parameters(dataset, name, training, ingestion)
    common_options: dict[str, Any] = {
        "name": name,
        "tags": ["chronotope", name],
        "concurrency_limit": ONE_AT_A_TIME,
        "entrypoint_type": EntrypointType.MODULE_PATH,
    }
    flow_options = _flow_options(name, default_parameters["collect-feedback"], scheduled)
    return [
        cast(
            "RunnerDeployment",
            flow.to_deployment(
                parameters=default_parameters[flow.name],
                description=flow_description,
                **options,
                **common_options,
            ),
        )
        for flow, flow_description, options in flow_options
    ]


def _flow_options(
    name: str, feedback_parameters: dict[str, Any], scheduled: bool
) -> list[tuple[Flow[..., Any], str, dict[str, Any]]]:
    """Each flow with its description, and its schedules and triggers."""
    schedule_by_name = {
        slug: [Cron(cron_text, timezone="UTC", slug=slug, active=scheduled)]
        for slug, cron_text in CRON_BY_SLUG.items()
    }
    feedback_triggers = _feedback_triggers(name, feedback_parameters)
    return [
        (ingest_events, _INGEST, {}),
        (embed_items, _EMBED, {}),
        (classify_items, _CLASSIFY, {}),
        (train_model, _TRAIN, {"schedules": schedule_by_name["weekly"]}),
        (pretrain_model, _PRETRAIN, {}),
        (federated_train, _FEDERATED, {}),
        (train_anomaly, _ANOMALY, {"schedules": schedule_by_name["weekly-later"]}),
        (
            collect_feedback,
            _FEEDBACK,
            {"schedules": schedule_by_name["nightly"], "triggers": feedback_triggers},
        ),
        (monitor_drift, _MONITOR, {"schedules": schedule_by_name["before-dawn"]}),
        (compress_model, _COMPRESS, {}),
        (backfill_events, _BACKFILL, {}),
        (
            score_users,
            _SCORE,
            {
                "schedules": schedule_by_name["before-morning"],
                "triggers": [_event_trigger(name, PROMOTED, "Score all users of")],
            },
        ),
        (synthesise_log, _SYNTHESISE, {}),
        (promote_model, _PROMOTE, {}),
        (roll_back_model, _ROLL_BACK, {}),
        (forget_users, _FORGET, {}),
        (expire_data, _EXPIRE, {"schedules": schedule_by_name["morning"]}),
    ]


def _default_parameters(
    dataset: str, name: str, training: TrainSettings, ingestion: IngestSettings
) -> dict[str, dict[str, Any]]:
    """Default parameters of the flows, by flow name."""
    data_parameters = {"dataset": dataset, "ingestion": ingestion.model_dump(mode="json")}
    compress_settings = CompressSettings(root=ingestion.root, objective=training.compression)
    embed_settings = EmbedSettings(
        root=ingestion.root, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir
    )
    classify_settings = ClassifySettings(**embed_settings.model_dump(exclude={"refit"}))
    champion_settings = ChampionSettings(root=ingestion.root).model_dump(mode="json")
    by_hand = {"dataset": name, "settings": champion_settings}
    return {
        "ingest-events": {"dataset": dataset, "settings": data_parameters["ingestion"]},
        "embed-items": {"dataset": dataset, "settings": embed_settings.model_dump(mode="json")},
        "classify-items": {
            "dataset": dataset,
            "settings": classify_settings.model_dump(mode="json"),
        },
        "train-model": {"settings": training.model_dump(mode="json"), **data_parameters},
        "pretrain-model": {
            "datasets": [dataset],
            "settings": PretrainSettings(root=ingestion.root).model_dump(mode="json"),
            "ingestion": data_parameters["ingestion"],
        },
        "federated-train": {
            "settings": FederatedSettings.like(training).model_dump(mode="json"),
            **data_parameters,
        },
        "train-anomaly": {
            "settings": anomaly_defaults(name, ingestion.root).model_dump(mode="json"),
            **data_parameters,
        },
        "collect-feedback": {
            "feedback": FeedbackConfig().model_dump(mode="json"),
            **data_parameters,
        },
        "monitor-drift": {"monitoring": MonitorConfig().model_dump(mode="json"), **data_parameters},
        "backfill-events": data_parameters,
        "compress-model": {"dataset": name, "settings": compress_settings.model_dump(mode="json")},
        "score-users": {
            "dataset": name,
            "scoring": ScoringConfig(root=ingestion.root).model_dump(mode="json"),
        },
        "synthesise-log": {
            "settings": SynthesiseSettings().model_dump(mode="json"),
            **data_parameters,
        },
        "promote-model": by_hand,
        "roll-back-model": by_hand,
    } | _removal_parameters(name, ingestion.root)


def _removal_parameters(name: str, root: Path) -> dict[str, dict[str, Any]]:
    users_file = root / "data" / "erasures" / "users.txt"
    retention = RetentionSettings(root=root).model_dump(mode="json")
    erasure = ErasureSettings(root=root, users_file=users_file).model_dump(mode="json")
    return {
        "expire-data": {"dataset": name, "settings": retention},
        "forget-users": {"dataset": name, "settings": erasure},
    }


def anomaly_defaults(name: str, root: Path) -> AnomalySettings:
    """Settings of the dataset's own file in conf/anomaly, else the defaults.

    Args:
        name: Name of the dataset.
        root: Project root.
    """
    config_path = ANOMALY_CONF_DIR / f"{name}.yaml"
    return read_anomaly_settings(config_path if config_path.is_file() else None, root)


def _feedback_triggers(dataset: str, feedback_parameters: dict[str, Any]) -> list[Any]:
    """Triggers of the feedback flow: enough logged interactions, and detected drift."""
    feedback_config = {**feedback_parameters["feedback"], "drift_reasons": _EVENT_REASONS}
    event_parameters = {LOGGED: None, DRIFTED: feedback_parameters | {"feedback": feedback_config}}
    return [
        _event_trigger(dataset, event_name, "Collect the feedback of", parameters)
        for event_name, parameters in event_parameters.items()
    ]


def _event_trigger(
    dataset: str, event_name: str, action: str, parameters: dict[str, Any] | None = None
) -> DeploymentEventTrigger:
    """Trigger of an event of the dataset; the description begins with the action."""
    return DeploymentEventTrigger(
        name=f"{dataset}: {event_name}",
        description=f"{action} {dataset} when {event_name} arrives",
        expect={event_name},
        match={"prefect.resource.id": dataset_resource(dataset)},
        parameters=parameters,
    )


def register(dataset_deployments: list[RunnerDeployment], work_pool: str) -> None:
    """Register deployments for the workers of a work pool.

    Args:
        dataset_deployments: The deployments.
        work_pool: Name of an existing pool of type process.
    """
    for deployment in dataset_deployments:
        # By default a worker runs in an empty folder, without conf/ and expectations/.
        deployment.job_variables = {"working_dir": str(Path.cwd())}
        deployment.apply(work_pool_name=work_pool)


def main(arguments: list[str] | None = None) -> None:
    """Serve the deployments of a dataset until SIGINT or SIGTERM.

    Args:
        arguments: Command-line arguments; by default those of this process.
    """
    parsed_options = _parse_options(arguments)
    dataset_spec = load_spec(parsed_options.dataset, conf_dir=CONF_DIR)
    project_root, name = parsed_options.root.resolve(), dataset_spec.name
    served_deployments = deployments(
        parsed_options.dataset,
        name,
        training=read_train_settings(parsed_options.config, project_root),
        ingestion=IngestSettings(root=project_root),
        scheduled=not parsed_options.paused,
    )
    if parsed_options.work_pool:
        register(served_deployments, parsed_options.work_pool)
        return
    if ALLOWED_ROOTS not in os.environ:
        allowed_folders = own_folders(parsed_options) | source_folders(dataset_spec)
        os.environ[ALLOWED_ROOTS] = os.pathsep.join(map(str, allowed_folders))
    if parsed_options.only_runner:
        end_abandoned_runs(name)
    with watch_in_thread(name, project_root):
        serve(*served_deployments, print_starting_message=False)


def _parse_options(arguments: list[str] | None) -> argparse.Namespace:
    argument_parser = argparse.ArgumentParser(description=__doc__)
    argument_parser.add_argument(
        "--dataset", required=True, help="Name in conf/datasets, or a YAML file"
    )
    argument_parser.add_argument(
        "--root", type=Path, default=Path(), help="Project root; all files are written below it"
    )
    argument_parser.add_argument(
        "--config", type=Path, help="YAML of training settings, the default parameters of flows"
    )
    argument_parser.add_argument(
        "--work-pool", help="Register the deployments for the workers of this pool, and exit"
    )
    argument_parser.add_argument(
        "--paused", action="store_true", help="Register the schedules as inactive"
    )
    argument_parser.add_argument(
        "--only-runner",
        action="store_true",
        help="Assume that no other runner serves these deployments, and mark unfinished runs of "
        "a killed runner as crashed",
    )
    return argument_parser.parse_args(arguments)


def own_folders(parsed_options: argparse.Namespace) -> set[Path]:
    """Folders that path parameters of flows may use: project root, working and dataset folder.

    Args:
        parsed_options: Parsed options ``dataset`` and ``root`` of ``main``.
    """
    dataset_path = Path(parsed_options.dataset)
    dataset_folders = [dataset_path.resolve().parent] if dataset_path.is_file() else []
    return {parsed_options.root.resolve(), Path.cwd(), *dataset_folders}


_INGEST: Final = """Ingest the dataset's own source into the lake and build the feature snapshot.
Events that are already in the lake are not written again."""
_EMBED: Final = """Encode texts, images and sounds of the items, as `items.content` of the dataset's
YAML configures them. Only new and changed items are encoded; content that is damaged, empty or too
large is counted with its reason."""
_CLASSIFY: Final = """Predict missing categories of the items from their texts, as
`items.content.classify` of the dataset's YAML asks. A classifier is trained where there is none,
judged on held-back labels and logged to MLflow; then only new and changed items are classified. A
category of the catalogue is never changed."""
_TRAIN: Final = """Full training: ingest new events, search hyper-parameters, train, compress,
evaluate on the holdout, and promote the model if it beats the champion and every baseline.

A run takes minutes to hours, depending on `study.n_trials` and `backbones`. A cancelled or killed
run resumes after its last finished step if it is started again with the same parameters."""
_PRETRAIN: Final = """Pretrain one network over several logs: add further datasets to the list. It
is evaluated on later events of each log and registered as a model of its own; a training starts
from it if `training.init` is its address, such as `mlflow:/pretrained-network/1`.

A cancelled or killed run resumes after its last finished step or epoch."""
_FEDERATED: Final = """Federated training: clients keep their rows and send sums of counts and of
updates, which secure aggregation hides one by one. Name the project roots of the clients, or
simulate clients from this dataset's lake. The model is gated like any other.

A cancelled or killed run continues after its last finished round."""
_SYNTHESISE: Final = """Generate users who were never there, from a process fitted on the log: a log
that can be shared, with a report on its fidelity and privacy beside it."""
_ANOMALY: Final = """Train a detector of events that are not their user's: choose detector and
parameters on later folds, evaluate it on the latest days beside the champion and baselines, and
register it as `DATASET-anomaly`. It is promoted if it is better; without labels, planted account
takeovers are what it has to find.

A cancelled or killed run resumes after its last finished step."""
_FEEDBACK: Final = """Ingest new interactions from the log of the service and from `*.jsonl` files
in `data/inbox/<dataset>`. Retrain the champion if there are enough new events, if drift was
detected, or if the champion is old. The challenger is promoted only if it is better.

Without new interactions nothing happens. Set `force` to retrain on few events, or on events that
fail the checks."""
_EXPIRE: Final = "Remove what is older than `privacy.retain_days` of the dataset's YAML."
_COMPRESS: Final = """Compress the trained network for another objective: maximum loss of accuracy,
latency of a query, and size of the file. Networks of earlier candidates are reused. The result is
evaluated and promoted like any other model; since it is the champion's own network, it has to be
no worse than the champion instead of better.

Increase `n_trials` to evaluate more candidates; the report plots accuracy against cost."""
_MONITOR: Final = """Compare the newest time window with earlier ones: the data, the champion's
predictions, and the outcome of its recommendations. Drift emits the event `drift.detected`, which
starts `collect-feedback`.

The same data, champion and log are measured once; set `force` to measure again."""
_BACKFILL: Final = """Replay a period of the dataset's own source in chunks: ingest each chunk,
predict each of its events from the events before it, and show the metrics over time.

Events that are already in the lake are not written again. A cancelled or killed run resumes after
its last finished chunk if it is started again with the same parameters."""
_SCORE: Final = """Predict the next items, time and places of all users with the champion, into the
table `predictions` of the lake. Only users with news since the last scoring with the same model
are scored; set `rescore_all` to score everybody. A promotion starts it, too.

A cancelled or killed run continues after its last stored block of users."""
_PROMOTE: Final = "Make a registered version the champion by hand, without the gate."
_FORGET: Final = """Erase the users of a file (one id a line) from the lake, logs and all files made
from their rows, and write a certificate. The file is removed at the end. Models stay."""
_ROLL_BACK: Final = "Make the previous champion the champion again."


if __name__ == "__main__":
    main()
