"""``prefect.yaml``, generated from the deployments, so that they are defined once.

``python -m flows.prefect_yaml`` writes it again after a flow, its settings or a schedule
changed; ``prefect deploy --all`` registers its deployments for a work pool. Values that differ
between installations are environment variables.
"""

from pathlib import Path
from typing import Any, Final

import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger

from chronotope.contracts.strict_json import JsonObject
from chronotope.pipelines.settings import TrainSettings
from flows.deployments import deployments
from flows.ingest_events import IngestSettings

DATASET: Final = "{{ $CHRONOTOPE_DATASET }}"
ROOT: Final = "{{ $CHRONOTOPE_ROOT }}"
POOL: Final = "{{ $CHRONOTOPE_WORK_POOL }}"

FILE: Final = Path(__file__).parents[1] / "prefect.yaml"

_HEADER: Final = """\
# Written by `python -m flows.prefect_yaml`; change flows/deployments.py, then run that again.
#
# For production: the deployments of one dataset, run by the workers of a process work pool.
#
#     export PREFECT_API_URL=... PREFECT_API_AUTH_STRING=...  # the server and its password
#     export CHRONOTOPE_DATASET=... CHRONOTOPE_ROOT=/srv/chronotope CHRONOTOPE_WORK_POOL=...
#     prefect work-pool create --type process "$CHRONOTOPE_WORK_POOL"
#     prefect --no-prompt deploy --all
#
# More in docs/deploy/README.md.
"""


class _BlockTextDumper(yaml.SafeDumper):
    """Dumper that writes texts of several lines as blocks."""


def _represent_text(yaml_dumper: yaml.SafeDumper, yaml_text: str) -> yaml.ScalarNode:
    block_style = "|" if "\n" in yaml_text else None
    return yaml_dumper.represent_scalar("tag:yaml.org,2002:str", yaml_text, block_style)


_BlockTextDumper.add_representer(str, _represent_text)


def main() -> None:
    """Write the file at the project's root."""
    FILE.write_text(render_prefect_yaml(), encoding="utf-8")


def render_prefect_yaml() -> str:
    """Content of ``prefect.yaml``."""
    project_root = Path(ROOT)
    dataset_deployments = deployments(
        DATASET,
        DATASET,
        training=TrainSettings(root=project_root),
        ingestion=IngestSettings(root=project_root),
    )
    yaml_content = {
        "name": "chronotope",
        "pull": [],
        "deployments": [deployment_entry(deployment) for deployment in dataset_deployments],
    }
    return _HEADER + yaml.dump(
        yaml_content, Dumper=_BlockTextDumper, sort_keys=False, allow_unicode=True, width=96
    )


def deployment_entry(deployment: RunnerDeployment) -> JsonObject:
    """Entry of one deployment, as ``prefect deploy`` reads it.

    Args:
        deployment: The deployment.
    """
    concurrency_options = deployment.concurrency_options
    concurrency_limit: dict[str, Any] = {"limit": deployment.concurrency_limit}
    if concurrency_options is not None:
        concurrency_limit |= concurrency_options.model_dump(
            mode="json", include={"collision_strategy"}
        )
    yaml_entry = {
        "name": deployment.name,
        "description": deployment.description,
        "tags": deployment.tags,
        "entrypoint": deployment.entrypoint,
        "work_pool": {"name": POOL, "job_variables": {"working_dir": ROOT}},
        "concurrency_limit": concurrency_limit,
        "schedules": [
            _schedule_entry(deployment_schedule)
            for deployment_schedule in deployment.schedules or []
        ],
        "triggers": [_trigger_entry(event_trigger) for event_trigger in deployment.triggers],
        "parameters": deployment.parameters,
    }
    return {
        field_name: field_value
        for field_name, field_value in yaml_entry.items()
        if field_value not in ([], None)
    }


def _schedule_entry(deployment_schedule: Any) -> JsonObject:
    cron_entry: CronSchedule = deployment_schedule.schedule
    return {
        "slug": deployment_schedule.slug,
        "cron": cron_entry.cron,
        "timezone": cron_entry.timezone,
        "active": deployment_schedule.active,
    }


def _trigger_entry(deployment_trigger: Any) -> JsonObject:
    event_trigger: DeploymentEventTrigger = deployment_trigger
    field_names = {"type", "name", "description", "expect", "match"}
    yaml_entry = event_trigger.model_dump(mode="json", include=field_names)
    return {**yaml_entry, "expect": sorted(yaml_entry["expect"])}


if __name__ == "__main__":
    main()
