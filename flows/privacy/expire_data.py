"""Flow ``expire-data``: remove what is past the dataset's retention."""

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.escaping import markdown_rows
from chronotope.erasure.retention import RetentionReport
from chronotope.erasure.retention import expire_data as expire_stores
from chronotope.lake import Lake
from chronotope.lake.privacy import read_privacy
from chronotope.registry.champion import require_dataset
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.workspace import Workspace


class RetentionSettings(BaseModel):
    """Settings of the flow ``expire-data``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; all stores are below it.")
    retain_days: float | None = Field(
        None, gt=0, description="Days to keep; None takes privacy.retain_days of the dataset's YAML"
    )


@flow(name="expire-data", result_serializer="json")
def expire_data(
    dataset: str,
    settings: RetentionSettings = RetentionSettings(),  # noqa: B008 - frozen
) -> RetentionReport | None:
    """Remove events, refused rows, answers and predictions past retention, in all versions.

    A dataset without a retention is left as it is. A run that was killed is started again.

    Args:
        dataset: Name of the dataset.
        settings: Where the installation is, and how long data are kept.
    """
    require_dataset(settings.root, dataset)
    lake = Lake(Workspace(settings.root).lake(dataset))
    if settings.retain_days is None and read_privacy(lake).settings.retain_days is None:
        get_run_logger().info("%s keeps its data for good: it has no privacy.retain_days", dataset)
        return None
    report = expire_stores(settings.root, dataset, retain_days=settings.retain_days)
    create_table_artifact(
        markdown_rows(
            [
                {"store": store.store, "removed": f"{store.n_removed:,} {store.unit}"}
                for store in report.stores
            ]
        ),
        key=f"retention-{dataset.replace('_', '-')}",
        description=f"Removed: what is from before {report.expired_before:%Y-%m-%d %H:%M} UTC",
    )
    return report
