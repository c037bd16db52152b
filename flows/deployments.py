"""The flows as deployments: what a user may trigger, when they run, how many at once.

``python -m flows.deployments --dataset NAME`` serves them from this process until Ctrl-C; with
``--work-pool POOL`` they are registered for the workers of a pool instead; then nobody here
watches the service's log, and ``python -m flows.watch_interactions`` has to run as well.
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

from chronotope.contracts.allowed import ALLOWED_ROOTS
from chronotope.feedback.config import FeedbackConfig
from chronotope.monitoring.config import MonitorConfig
from chronotope.steps.settings import TrainSettings
from flows.abandoned_runs import end_abandoned_runs
from flows.backfill_events import backfill_events
from flows.change_champion import ChampionSettings, promote_model, roll_back_model
from flows.collect_feedback import collect_feedback
from flows.compress_model import CompressSettings, compress_model
from flows.ingest_events import IngestSettings, ingest_events
from flows.monitor_drift import DRIFTED, monitor_drift
from flows.train_model import train_model
from flows.watch_interactions import LOGGED, resource_of, watching

BEFORE_DAWN: Final = "0 2 * * *"
NIGHTLY: Final = "0 3 * * *"
WEEKLY: Final = "0 1 * * 0"
"""Cron, in UTC: monitoring and then feedback each night, a full study in the night to Sunday."""

_REASONS: Final = {
    "__prefect_kind": "json",
    "value": {"__prefect_kind": "jinja", "template": "{{ event.payload.reasons | tojson }}"},
}
"""What the server puts in as it starts the flow: the reasons that came with the event."""

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
    forms = _forms(dataset, name, training, ingestion)
    common: dict[str, Any] = {
        "name": name,
        "tags": ["chronotope", name],
        "concurrency_limit": ONE_AT_A_TIME,
        "entrypoint_type": EntrypointType.MODULE_PATH,
    }
    return [
        _deployed(ingest_events, parameters=forms["takes"], description=_INGEST, **common),
        _deployed(
            train_model,
            parameters=forms["trains"],
            description=_TRAIN,
            schedules=[Cron(WEEKLY, timezone="UTC", slug="weekly", active=scheduled)],
            **common,
        ),
        _deployed(
            collect_feedback,
            parameters=forms["learns"],
            description=_FEEDBACK,
            schedules=[Cron(NIGHTLY, timezone="UTC", slug="nightly", active=scheduled)],
            triggers=_triggers(name, forms["learns"]),
            **common,
        ),
        _deployed(
            monitor_drift,
            parameters=forms["watches"],
            description=_MONITOR,
            schedules=[Cron(BEFORE_DAWN, timezone="UTC", slug="before-dawn", active=scheduled)],
            **common,
        ),
        _deployed(compress_model, parameters=forms["compresses"], description=_COMPRESS, **common),
        _deployed(backfill_events, parameters=forms["replays"], description=_BACKFILL, **common),
        _deployed(promote_model, parameters=forms["by_hand"], description=_PROMOTE, **common),
        _deployed(roll_back_model, parameters=forms["by_hand"], description=_ROLL_BACK, **common),
    ]


def _forms(
    dataset: str, name: str, training: TrainSettings, ingestion: IngestSettings
) -> dict[str, dict[str, Any]]:
    """What the forms of the flows are filled with."""
    given = {"dataset": dataset, "ingestion": ingestion.model_dump(mode="json")}
    again = CompressSettings(root=ingestion.root, objective=training.compression)
    champion = ChampionSettings(root=ingestion.root)
    return {
        "takes": {"dataset": dataset, "settings": given["ingestion"]},
        "trains": {"settings": training.model_dump(mode="json"), **given},
        "learns": {"feedback": FeedbackConfig().model_dump(mode="json"), **given},
        "watches": {"monitoring": MonitorConfig().model_dump(mode="json"), **given},
        "replays": given,
        "compresses": {"dataset": name, "settings": again.model_dump(mode="json")},
        "by_hand": {"dataset": name, "settings": champion.model_dump(mode="json")},
    }


def _deployed(flow: Flow[..., Any], **told: Any) -> RunnerDeployment:
    return cast("RunnerDeployment", flow.to_deployment(**told))


def _triggers(dataset: str, learns: dict[str, Any]) -> list[Any]:
    """Logged interactions start the feedback flow as it is; drift tells it the reasons too."""
    with_reasons = {**learns["feedback"], "drifted": _REASONS}
    told = {LOGGED: None, DRIFTED: {**learns, "feedback": with_reasons}}
    return [
        DeploymentEventTrigger(
            name=f"{dataset}: {event}",
            description=f"Collect the feedback of {dataset} when {event} arrives",
            expect={event},
            match={"prefect.resource.id": resource_of(dataset)},
            parameters=parameters,
        )
        for event, parameters in told.items()
    ]


def register(served: list[RunnerDeployment], work_pool: str) -> None:
    """Register deployments for the workers of a pool, which run them on their machines.

    Args:
        served: The deployments.
        work_pool: Name of a pool of type process that exists.
    """
    for each in served:
        # else a worker runs in an empty folder, where conf/ and expectations/ are not found
        each.job_variables = {"working_dir": str(Path.cwd())}
        each.apply(work_pool_name=work_pool)


def main(words: list[str] | None = None) -> None:
    """Serve the deployments of a dataset until SIGINT or SIGTERM.

    Args:
        words: Command line; by default the process's own.
    """
    from chronotope.cli.train import read_settings
    from chronotope.datasets.loading import CONF_DIR, load_spec
    from chronotope.datasets.locations import source_folders

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="Name in conf/datasets, or a YAML file")
    parser.add_argument("--root", type=Path, default=Path(), help="All is written below it")
    parser.add_argument("--config", type=Path, help="YAML of training settings, as form defaults")
    parser.add_argument("--work-pool", help="Register for this pool of workers, and end")
    parser.add_argument("--paused", action="store_true", help="Leave the schedules switched off")
    parser.add_argument(
        "--only-runner",
        action="store_true",
        help="No other runner serves these deployments: end what a killed one left running",
    )
    told = parser.parse_args(words)
    spec = load_spec(told.dataset, conf_dir=CONF_DIR)
    root, name = told.root.resolve(), spec.name
    ingestion = IngestSettings(root=root)
    training = read_settings(told.config, root)
    served = deployments(
        told.dataset, name, training=training, ingestion=ingestion, scheduled=not told.paused
    )
    if told.work_pool:
        register(served, told.work_pool)
        return
    if ALLOWED_ROOTS not in os.environ:
        folders = own_folders(told) | source_folders(spec)
        os.environ[ALLOWED_ROOTS] = os.pathsep.join(map(str, folders))
    if told.only_runner:
        end_abandoned_runs(name)
    with watching(name, root):
        serve(*served, print_starting_message=False)


def own_folders(told: argparse.Namespace) -> set[Path]:
    """Where what is named on the command line lies.

    Forms reach no further than there and the folders that the dataset itself is read from.

    Args:
        told: ``dataset`` and ``root``, as ``main`` reads them.
    """
    yaml = Path(told.dataset)
    return {told.root.resolve(), Path.cwd(), *([yaml.resolve().parent] if yaml.is_file() else [])}


_INGEST: Final = "Read the dataset's own source; what the lake has already is not written twice."
_TRAIN: Final = """A full study: ingest what is new, search parameters, train, compress, judge
on later time, and promote the model if it beats the champion and every baseline.

Minutes to hours; `study.n_trials` and `backbones` decide. A cancelled or killed run goes on
after its last finished step if it is started again with the same parameters."""
_FEEDBACK: Final = """Take in what users did since: the log of the service, and `*.jsonl` files in
`data/inbox/<dataset>`. Retrain the champion if that is worth it (enough new events, drift, age),
and promote its successor only if it is better.

Nothing new: nothing happens. Tick `force` to retrain on little, or on what looks broken."""
_COMPRESS: Final = """Compress the trained network again for another objective: how much accuracy
may be lost, how long a query may take, how large the file may be. Nothing is trained that was
kept; it is judged and promoted like any other, and as the champion's own network it has to be
no worse instead of better.

Raise `n_trials` to search wider; the report draws what accuracy costs."""
_MONITOR: Final = """Compare the newest window with what history says is usual: the data, the
champion's predictions, and what became of its answers. Drift emits `drift.detected`, which starts
`collect-feedback`.

The same data, champion and log are measured once; tick `force` to measure again."""
_BACKFILL: Final = """Replay a period of the dataset's own source in chunks: take each in, predict
its events one by one from what was known before them, and show the metrics over time.

What the lake has already is not written twice. A cancelled or killed run goes on after its last
finished chunk if it is started again with the same parameters."""
_PROMOTE: Final = "Make a registered version the champion by hand, without the gate."
_ROLL_BACK: Final = "Return to the champion before the present one."


if __name__ == "__main__":
    main()
