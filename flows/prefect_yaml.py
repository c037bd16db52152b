"""``prefect.yaml`` out of the deployments' own definitions, so that there is one truth.

``python -m flows.prefect_yaml`` writes it again after a flow, its settings or a schedule
changed; ``prefect deploy --all`` registers what it says for a work pool. What differs from
one installation to the next stands in environment variables.
"""

from pathlib import Path
from typing import Any, Final

import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger

from chronotope.pipelines.settings import TrainSettings
from flows.deployments import deployments
from flows.ingest_events import IngestSettings

DATASET: Final = "{{ $CHRONOTOPE_DATASET }}"
ROOT: Final = "{{ $CHRONOTOPE_ROOT }}"
POOL: Final = "{{ $CHRONOTOPE_WORK_POOL }}"

FILE: Final = Path(__file__).parents[1] / "prefect.yaml"

_HEAD: Final = """\
# Written by `python -m flows.prefect_yaml`; change flows/deployments.py, then run that again.
#
# For production: the deployments of one dataset, run by the workers of a process work pool.
#
#     export PREFECT_API_URL=... PREFECT_API_AUTH_STRING=...  # the server and its password
#     export CHRONOTOPE_DATASET=... CHRONOTOPE_ROOT=/srv/chronotope CHRONOTOPE_WORK_POOL=...
#     prefect work-pool create --type process "$CHRONOTOPE_WORK_POOL"
#     prefect --no-prompt deploy --all
#
# docs/deploy/README.md tells the rest.
"""


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as they are read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def main() -> None:
    """Write the file at the project's root."""
    FILE.write_text(render_prefect_yaml(), encoding="utf-8")


def render_prefect_yaml() -> str:
    """The whole of ``prefect.yaml``."""
    root = Path(ROOT)
    found = deployments(
        DATASET,
        DATASET,
        training=TrainSettings(root=root),
        ingestion=IngestSettings(root=root),
    )
    content = {
        "name": "chronotope",
        "pull": [],
        "deployments": [deployment_entry(each) for each in found],
    }
    return _HEAD + yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)


def deployment_entry(deployment: RunnerDeployment) -> dict[str, Any]:
    """One deployment as ``prefect deploy`` reads it.

    Args:
        deployment: As it would be served.
    """
    options = deployment.concurrency_options
    limit: dict[str, Any] = {"limit": deployment.concurrency_limit}
    if options is not None:
        limit |= options.model_dump(mode="json", include={"collision_strategy"})
    told = {
        "name": deployment.name,
        "description": deployment.description,
        "tags": deployment.tags,
        "entrypoint": deployment.entrypoint,
        "work_pool": {"name": POOL, "job_variables": {"working_dir": ROOT}},
        "concurrency_limit": limit,
        "schedules": [_schedule(each) for each in deployment.schedules or []],
        "triggers": [_trigger(each) for each in deployment.triggers],
        "parameters": deployment.parameters,
    }
    return {name: of for name, of in told.items() if of not in ([], None)}


def _schedule(told: Any) -> dict[str, Any]:
    cron: CronSchedule = told.schedule
    return {
        "slug": told.slug,
        "cron": cron.cron,
        "timezone": cron.timezone,
        "active": told.active,
    }


def _trigger(told: Any) -> dict[str, Any]:
    trigger: DeploymentEventTrigger = told
    wanted = {"type", "name", "description", "expect", "match"}
    kept = trigger.model_dump(mode="json", include=wanted)
    return {**kept, "expect": sorted(kept["expect"])}


if __name__ == "__main__":
    main()
