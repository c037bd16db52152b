"""Step ``classify_items``: missing labels of a dataset, by stored classifiers; without torch."""

from chronotope.content.encoders.packaged_weights import MissingWeights
from chronotope.content.labels.classifier_store import classifier_path, load_classifier
from chronotope.content.labels.classify_items import classify_items
from chronotope.content.labels.label_report import ColumnLabelReport, LabelSummary
from chronotope.content.labels.used_labels import withdraw_labels
from chronotope.datasets.content_spec import ClassifySpec
from chronotope.datasets.spec import DatasetSpec
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace

_TRAIN_FIRST = "run `chronotope classify DATASET` to train one"


def classify_catalogue(
    dataset_spec: DatasetSpec, workspace: Workspace, *, dry_run: bool = False
) -> LabelSummary:
    """Classify the new and changed items of a dataset's lake, by the classifiers that are stored.

    A column without a classifier is left out, and the report says why.

    Args:
        dataset_spec: The dataset; ``items.content.classify`` says what to predict.
        workspace: Folders of the project.
        dry_run: Whether to count only, and write nothing.

    Raises:
        ArtifactError: The file of a classifier is damaged.
        StoreError: The lake cannot be read or written.
    """
    item_content = dataset_spec.items.content if dataset_spec.items else None
    classify = item_content.classify if item_content else {}
    item_lake = Lake(workspace.lake(dataset_spec.name))
    if not dry_run:
        withdraw_labels(item_lake, classify)
    column_reports = [
        _classify_column(column, classify_spec, item_lake, dataset_spec.name, workspace, dry_run)
        for column, classify_spec in classify.items()
    ]
    return LabelSummary(dataset=dataset_spec.name, columns=tuple(column_reports))


def training_source(classify_spec: ClassifySpec) -> str:
    """What decides on the texts that a classifier is trained on.

    Args:
        classify_spec: Columns and bounds of the texts.
    """
    return classify_spec.model_dump_json(include={"columns", "max_chars", "backbone"})


def _classify_column(
    column: str,
    classify_spec: ClassifySpec,
    item_lake: Lake,
    dataset: str,
    workspace: Workspace,
    dry_run: bool,
) -> ColumnLabelReport:
    if not item_lake.exists("items"):
        return ColumnLabelReport(column=column, skipped="the lake has no items")
    text_classifier = load_classifier(classifier_path(workspace.classifiers(dataset), column))
    if text_classifier is None:
        return ColumnLabelReport(
            column=column, skipped=f"there is no classifier yet: {_TRAIN_FIRST}"
        )
    if text_classifier.source != training_source(classify_spec):
        return ColumnLabelReport(
            column=column, skipped=f"the classifier reads other columns: {_TRAIN_FIRST}"
        )
    try:
        return classify_items(item_lake, column, classify_spec, text_classifier, dry_run=dry_run)
    except MissingWeights as error:
        return ColumnLabelReport(column=column, skipped=str(error))
