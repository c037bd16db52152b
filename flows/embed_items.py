"""Flow ``embed-items``: encode texts, images, sounds and attributes of the items of a dataset."""

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from chronotope.content.embed_catalogue import embed_catalogue
from chronotope.content.modality_report import EmbeddingSummary, ModalityReport
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.escaping import markdown_rows
from chronotope.datasets.loading import CONF_DIR, load_spec
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.workspace import Workspace
from flows import dataset_lock_in_flow


class EmbedSettings(BaseModel):
    """Settings of the flow ``embed-items``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; all files are written below it")
    conf_dir: AllowedPath = Field(CONF_DIR, description="Folder of the YAML files of datasets")
    data_dir: AllowedPath | None = Field(
        None, description="Folder of the data files; overrides the dataset's YAML"
    )
    refit: bool = Field(
        False,
        description="Fit the encoders of the catalogue again: texts and attributes",
    )


@flow(name="embed-items", result_serializer="json")
def embed_items(
    dataset: str,
    settings: EmbedSettings = EmbedSettings(),  # noqa: B008 - frozen
) -> EmbeddingSummary:
    """Encode the content of new and changed items, as the dataset's YAML configures it.

    A second run encodes nothing. Content that is damaged, empty or too large is counted with its
    reason; its item stays without a vector.

    Args:
        dataset: Name of a file in conf/datasets, or path of such a YAML file.
        settings: Location of the data, and whether to fit encoders of the catalogue again.

    Raises:
        ConfigError: The YAML configures no content.
    """
    dataset_spec = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir)
    if dataset_spec.items is None or dataset_spec.items.content is None:
        raise ConfigError(
            f"The YAML of {dataset_spec.name} configures no content of its items",
            way_out="Add items.content, such as: content: {text: [title]}; see docs/content.md",
        )
    with dataset_lock_in_flow(Workspace(settings.root), dataset_spec.name):
        return embed_content(dataset, settings)


def has_content(dataset: str, settings: EmbedSettings) -> bool:
    """Whether a dataset's YAML configures content of its items.

    Args:
        dataset: Name or YAML file of the dataset.
        settings: Folder of the YAML files.
    """
    items = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir).items
    return items is not None and items.content is not None


@task(cache_policy=NO_CACHE, result_serializer="json")
def embed_content(dataset: str, settings: EmbedSettings) -> EmbeddingSummary:
    """Encode the configured modalities of a dataset; the caller holds the dataset's lock.

    Args:
        dataset: Name or YAML file of the dataset.
        settings: Location of the data, and whether to fit encoders of the catalogue again.
    """
    dataset_spec = load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir)
    summary = embed_catalogue(dataset_spec, Workspace(settings.root), refit=settings.refit)
    if summary.modalities:
        create_table_artifact(
            markdown_rows([artifact_row(report) for report in summary.modalities]),
            key=f"embed-{dataset_spec.name.replace('_', '-')}",
            description="Items encoded by modality",
        )
    return summary


def artifact_row(report: ModalityReport) -> dict[str, str | int]:
    """Row of the artifact's table.

    Args:
        report: Result of one modality.
    """
    reason_texts = ", ".join(f"{reason}: {n_items:,}" for reason, n_items in report.reasons.items())
    return {
        "modality": report.modality.value,
        "encoder": report.encoder,
        "items": report.n_items,
        "encoded": report.n_encoded,
        "unchanged": report.n_unchanged,
        "without": report.n_missing,
        "reasons": report.skipped or reason_texts,
    }
