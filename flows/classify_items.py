"""Flow ``classify-items``: predict missing labels of the items of a dataset."""

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from chronotope.content.labels.classify_catalogue import classify_catalogue
from chronotope.content.labels.label_report import ColumnLabelReport, LabelSummary
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.escaping import markdown_rows
from chronotope.datasets.loading import CONF_DIR, load_spec
from chronotope.datasets.spec import DatasetSpec
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.workspace import Workspace
from flows import dataset_lock_in_flow


class ClassifySettings(BaseModel):
    """Settings of the flow ``classify-items``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; all files are written below it")
    conf_dir: AllowedPath = Field(CONF_DIR, description="Folder of the YAML files of datasets")
    data_dir: AllowedPath | None = Field(
        None, description="Folder of the data files; overrides the dataset's YAML"
    )
    retrain: bool = Field(
        False, description="Train the classifiers again, and classify every item with them"
    )
    dry_run: bool = Field(
        False, description="Count what the stored classifiers would predict, and write nothing"
    )


@flow(name="classify-items", result_serializer="json")
def classify_items(
    dataset: str,
    settings: ClassifySettings = ClassifySettings(),  # noqa: B008 - frozen
) -> LabelSummary:
    """Predict the missing labels that the dataset's YAML asks for under items.content.classify.

    A classifier is trained where there is none yet, judged on held-back labels, and logged to
    MLflow. Then new and changed items are classified; a second run classifies none. A label of
    the catalogue is never changed.

    Args:
        dataset: Name of a file in conf/datasets, or path of such a YAML file.
        settings: Location of the data, whether to train again, and whether to count only.

    Raises:
        ConfigError: The YAML asks for no labels.
    """
    dataset_spec = _load(dataset, settings)
    if not _classifies(dataset_spec):
        raise ConfigError(
            f"The YAML of {dataset_spec.name} asks for no labels of its items",
            way_out="Add items.content.classify, such as: classify: {category: [title, text]}; "
            "see docs/content.md",
        )
    with dataset_lock_in_flow(Workspace(settings.root), dataset_spec.name):
        run_ids, skipped_columns = (
            ({}, {}) if settings.dry_run else train_label_classifiers(dataset, settings)
        )
        label_summary = apply_classifiers(dataset, settings)
    column_reports = [
        column_report.model_copy(
            update={
                "run_id": run_ids.get(column_report.column, ""),
                "skipped": skipped_columns.get(column_report.column, column_report.skipped),
            }
        )
        for column_report in label_summary.columns
    ]
    return label_summary.model_copy(update={"columns": tuple(column_reports)})


def classify_new_items(
    dataset: str, root: Path, conf_dir: Path, data_dir: Path | None
) -> LabelSummary | None:
    """Apply the stored classifiers after an ingestion; None if the YAML asks for no labels.

    Args:
        dataset: Name or YAML file of the dataset.
        root: Project root.
        conf_dir: Folder of the YAML files.
        data_dir: Folder of the data files; overrides the dataset's YAML.
    """
    settings = ClassifySettings(root=root, conf_dir=conf_dir, data_dir=data_dir)
    return apply_classifiers(dataset, settings) if _classifies(_load(dataset, settings)) else None


@task(cache_policy=NO_CACHE, result_serializer="json")
def train_label_classifiers(
    dataset: str, settings: ClassifySettings
) -> tuple[dict[str, str], dict[str, str]]:
    """Train the classifiers that are missing or out of date; the caller holds the dataset's lock.

    Args:
        dataset: Name or YAML file of the dataset.
        settings: Location of the data, and whether to train all again.

    Returns:
        The MLflow run of each trained column, and the reason of each that cannot be trained.
    """
    from chronotope.pipelines.item_texts.train_classifiers import train_classifiers  # imports torch

    trained_classifiers = train_classifiers(
        _load(dataset, settings), Workspace(settings.root), retrain=settings.retrain
    )
    return dict(trained_classifiers.run_ids), dict(trained_classifiers.skipped)


@task(cache_policy=NO_CACHE, result_serializer="json")
def apply_classifiers(dataset: str, settings: ClassifySettings) -> LabelSummary:
    """Classify new and changed items by the stored classifiers; the caller holds the lock.

    Args:
        dataset: Name or YAML file of the dataset.
        settings: Location of the data, and whether to count only.
    """
    dataset_spec = _load(dataset, settings)
    label_summary = classify_catalogue(
        dataset_spec, Workspace(settings.root), dry_run=settings.dry_run
    )
    if label_summary.columns:
        create_table_artifact(
            markdown_rows([label_row(column_report) for column_report in label_summary.columns]),
            key=f"classify-{dataset_spec.name.replace('_', '-')}",
            description="Predicted labels by column",
        )
    return label_summary


def label_row(report: ColumnLabelReport) -> dict[str, str | int]:
    """Row of the artifact's table.

    Args:
        report: Result of one column.
    """
    reason_text = ", ".join(f"{reason}: {n_items:,}" for reason, n_items in report.reasons.items())
    return {
        "column": report.column,
        "items": report.n_items,
        "given": report.n_given,
        "predicted": report.n_predicted,
        "without": report.n_missing,
        "classified now": report.n_classified,
        "reasons": report.skipped or reason_text,
    }


def _load(dataset: str, settings: ClassifySettings) -> DatasetSpec:
    return load_spec(dataset, conf_dir=settings.conf_dir, data_dir=settings.data_dir)


def _classifies(dataset_spec: DatasetSpec) -> bool:
    item_content = dataset_spec.items.content if dataset_spec.items else None
    return item_content is not None and bool(item_content.classify)
