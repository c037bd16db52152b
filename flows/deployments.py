"""The flows as deployments: what a user may trigger, when they run, how many at once.

``python -m flows.deployments --dataset NAME`` serves them from this process until Ctrl-C; with
``--work-pool POOL`` they are registered for the workers of a pool instead.
"""

import argparse
from pathlib import Path
from typing import Any, Final, cast

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.flows import Flow
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

from chronotope.feedback.config import FeedbackConfig
from chronotope.steps.settings import TrainSettings
from flows.backfill_events import backfill_events
from flows.change_champion import ChampionSettings, promote_model, roll_back_model
from flows.collect_feedback import collect_feedback
from flows.ingest_events import IngestSettings, ingest_events
from flows.train_model import train_model
from flows.watch_interactions import LOGGED, resource_of, watching

NIGHTLY: Final = "0 3 * * *"
WEEKLY: Final = "0 1 * * 0"
"""Cron, in UTC: feedback each night, a full study in the night to Sunday."""

DRIFTED: Final = "drift.detected"
"""Event whose arrival starts the feedback flow, whoever emits it."""

ONE_AT_A_TIME: Final = ConcurrencyLimitConfig(
    limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
)
"""A second run waits; runs of different flows on one dataset wait for its lock."""


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
        dataset: Name in the folder of the datasets, or the path of a YAML file.
        name: Name of the dataset, and of its deployments.
        training: Defaults of the form of ``train-model``.
        ingestion: Defaults of where data are.
        scheduled: Whether the schedules are active; paused ones can be switched on in the UI.
    """
    given = {"dataset": dataset, "ingestion": ingestion.model_dump(mode="json")}
    trains = {"settings": training.model_dump(mode="json"), **given}
    takes = {"dataset": dataset, "settings": given["ingestion"]}
    learns = {"feedback": FeedbackConfig().model_dump(mode="json"), **given}
    champion = ChampionSettings(root=ingestion.root).model_dump(mode="json")
    common: dict[str, Any] = {
        "name": name,
        "tags": ["chronotope", name],
        "concurrency_limit": ONE_AT_A_TIME,
        "entrypoint_type": EntrypointType.MODULE_PATH,
    }
    by_hand = {"dataset": name, "settings": champion}
    return [
        _deployed(ingest_events, parameters=takes, description=_INGEST, **common),
        _deployed(
            train_model,
            parameters=trains,
            description=_TRAIN,
            schedules=[Cron(WEEKLY, timezone="UTC", slug="weekly", active=scheduled)],
            **common,
        ),
        _deployed(
            collect_feedback,
            parameters=learns,
            description=_FEEDBACK,
            schedules=[Cron(NIGHTLY, timezone="UTC", slug="nightly", active=scheduled)],
            triggers=_triggers(name),
            **common,
        ),
        _deployed(backfill_events, parameters=given, description=_BACKFILL, **common),
        _deployed(promote_model, parameters=by_hand, description=_PROMOTE, **common),
        _deployed(roll_back_model, parameters=by_hand, description=_ROLL_BACK, **common),
    ]


def _deployed(flow: Flow[..., Any], **told: Any) -> RunnerDeployment:
    return cast("RunnerDeployment", flow.to_deployment(**told))


def _triggers(dataset: str) -> list[Any]:
    return [
        DeploymentEventTrigger(
            name=f"{dataset}: {event}",
            description=f"Collect the feedback of {dataset} when {event} arrives",
            expect={event},
            match={"prefect.resource.id": resource_of(dataset)},
        )
        for event in (LOGGED, DRIFTED)
    ]


def register(served: list[RunnerDeployment], work_pool: str) -> None:
    """Register deployments for the workers of a pool, which run them on their machines.

    Args:
        served: The deployments.
        work_pool: Name of a pool of type process that exists.
    """
    for each in served:
        each.apply(work_pool_name=work_pool)


def main(words: list[str] | None = None) -> None:
    """Serve the deployments of a dataset until SIGINT or SIGTERM.

    Args:
        words: Command line; by default the process's own.
    """
    from chronotope.cli.train import read_settings
    from chronotope.datasets.loading import CONF_DIR, load_spec

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="Name in conf/datasets, or a YAML file")
    parser.add_argument("--root", type=Path, default=Path(), help="All is written below it")
    parser.add_argument("--config", type=Path, help="YAML of training settings, as form defaults")
    parser.add_argument("--work-pool", help="Register for this pool of workers, and end")
    parser.add_argument("--paused", action="store_true", help="Leave the schedules switched off")
    told = parser.parse_args(words)
    root, name = told.root.resolve(), load_spec(told.dataset, conf_dir=CONF_DIR).name
    ingestion = IngestSettings(root=root)
    training = read_settings(told.config, root)
    served = deployments(
        told.dataset, name, training=training, ingestion=ingestion, scheduled=not told.paused
    )
    if told.work_pool:
        register(served, told.work_pool)
        return
    with watching(name, root):
        serve(*served, print_starting_message=False)


_INGEST: Final = "Read the dataset's own source; what the lake has already is not written twice."
_TRAIN: Final = """A full study: ingest what is new, search parameters, train, compress, judge
on later time, and promote the model if it beats the champion and every baseline.

Minutes to hours; `study.n_trials` and `backbones` decide. A cancelled or killed run goes on
after its last finished step if it is started again with the same parameters."""
_FEEDBACK: Final = """Take in what users did since: the log of the service, and `*.jsonl` files in
`data/inbox/<dataset>`. Retrain the champion if that is worth it (enough new events, drift, age),
and promote its successor only if it is better.

Nothing new: nothing happens. Tick `force` to retrain on little, or on what looks broken."""
_BACKFILL: Final = """Replay a period of the dataset's own source in chunks: take each in, predict
its events one by one from what was known before them, and show the metrics over time.

What the lake has already is not written twice. A cancelled or killed run goes on after its last
finished chunk if it is started again with the same parameters."""
_PROMOTE: Final = "Make a registered version the champion by hand, without the gate."
_ROLL_BACK: Final = "Return to the champion before the present one."


if __name__ == "__main__":
    main()
