"""Step ``train_classifiers``: classifiers of missing labels, each logged beside its baseline."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from chronotope.content.labels.classifier_store import (
    classifier_path,
    load_classifier,
    save_classifier,
)
from chronotope.content.labels.classify_catalogue import training_source
from chronotope.content.labels.text_classifier import TextClassifier
from chronotope.contracts.errors import ArtifactError, NotEnoughData
from chronotope.contracts.escaping import markdown_text
from chronotope.datasets.content_spec import ClassifySpec
from chronotope.datasets.spec import DatasetSpec
from chronotope.lake import Lake
from chronotope.metrics.classification import ConfusedLabels, macro_f1, most_confused
from chronotope.registry.mlflow_store import RunTracker, open_store
from chronotope.runtime.workspace import Workspace
from chronotope.training.text.catalogue_labels import LabelledCatalogue, read_labelled_catalogue
from chronotope.training.text.config import TextClassifierConfig
from chronotope.training.text.tfidf_baseline import TfidfBaseline

_GROWTH: Final = 2.0
"""Factor by which the labelled items have to grow until a classifier is trained again."""

_N_TRAIN: Final = "n_train"


@dataclass(frozen=True, slots=True)
class TrainedClassifiers:
    """What the trainings of a run made.

    Attributes:
        run_ids: MLflow run of each column whose classifier was trained.
        skipped: Reason for each column that cannot have a classifier.
    """

    run_ids: Mapping[str, str]
    skipped: Mapping[str, str]


def train_classifiers(
    dataset_spec: DatasetSpec,
    workspace: Workspace,
    *,
    retrain: bool = False,
    config: TextClassifierConfig = TextClassifierConfig(),  # noqa: B008 - frozen
) -> TrainedClassifiers:
    """Train the classifiers that are missing, or whose sources changed or doubled.

    Args:
        dataset_spec: The dataset; ``items.content.classify`` says what to predict.
        workspace: Folders of the project.
        retrain: Whether to train all of them again.
        config: Sizes and hyper-parameters; the YAML names the backbone.

    Raises:
        ConfigError: The weights that the YAML names are not installed.
        StoreError: The lake or the MLflow store cannot be used.
    """
    from chronotope.training.text.fit_classifier import fit_text_classifier  # imports Lightning

    item_content = dataset_spec.items.content if dataset_spec.items else None
    item_lake = Lake(workspace.lake(dataset_spec.name))
    run_ids, skipped = dict[str, str](), dict[str, str]()
    if not item_lake.exists("items"):
        return TrainedClassifiers(run_ids, skipped)
    for column, classify_spec in (item_content.classify if item_content else {}).items():
        column_config = config.model_copy(update={"backbone": classify_spec.backbone})
        classifier_file = classifier_path(workspace.classifiers(dataset_spec.name), column)
        try:
            labelled_catalogue = read_labelled_catalogue(
                item_lake, column, classify_spec, column_config
            )
            if not retrain and _is_current(classifier_file, classify_spec, labelled_catalogue):
                continue
            text_classifier = fit_text_classifier(
                labelled_catalogue.train,
                labelled_catalogue.validation,
                labelled_catalogue.labels,
                column_config,
            )
        except NotEnoughData as error:
            skipped[column] = str(error)
            continue
        classifier_metrics = text_classifier.metrics | {
            _N_TRAIN: float(labelled_catalogue.train.n_items.sum())
        }
        text_classifier = replace(
            text_classifier, metrics=classifier_metrics, source=training_source(classify_spec)
        )
        save_classifier(text_classifier, classifier_file)
        run_ids[column] = log_classifier(
            text_classifier, labelled_catalogue, column, dataset_spec.name, workspace, column_config
        )
    return TrainedClassifiers(run_ids, skipped)


def log_classifier(
    classifier: TextClassifier,
    catalogue: LabelledCatalogue,
    column: str,
    dataset: str,
    workspace: Workspace,
    config: TextClassifierConfig,
) -> str:
    """Log a classifier to MLflow with TF-IDF and logistic regression beside it.

    Args:
        classifier: The classifier.
        catalogue: The texts of its training and its validation.
        column: Column that it fills.
        dataset: Name of the dataset.
        workspace: Folders of the project.
        config: Hyper-parameters.

    Returns:
        Id of the MLflow run.
    """
    train, validation = catalogue.train, catalogue.validation
    tfidf_baseline = TfidfBaseline.fit(
        (train.texts, train.label_idx, train.n_items),
        (validation.texts, validation.label_idx, validation.n_items),
        penalties=(3.0, 30.0),
    )
    n_items = validation.n_items.astype(np.int64)
    baseline_idx = tfidf_baseline.predict(validation.texts)
    predicted_idx = classifier.predict(validation.texts).label_idx
    confused_labels = most_confused(
        np.repeat(validation.label_idx, n_items),
        np.repeat(predicted_idx, n_items),
        classifier.labels,
    )
    metric_values = {
        **classifier.metrics,
        "n_labels": float(len(classifier.labels)),
        "baseline_macro_f1": macro_f1(
            validation.label_idx, baseline_idx, weights=n_items.astype(np.float64)
        ),
        "baseline_accuracy": float(
            np.average(baseline_idx == validation.label_idx, weights=n_items)
        ),
    }
    mlflow_store = open_store(workspace.mlruns)
    run_tags = {"dataset": dataset, "column": column, "classifier": classifier.digest[:16]}
    with mlflow_store.run(f"{dataset}-labels", f"classify {column}", tags=run_tags) as run_tracker:
        run_tracker.params(
            config.model_dump() | {"baseline": f"TF-IDF, {tfidf_baseline.description}"}
        )
        run_tracker.metrics(metric_values)
        run_tracker.note(_note(column, metric_values, confused_labels))
        _log_confusion(run_tracker, confused_labels)
        return run_tracker.run_id


def _log_confusion(run_tracker: RunTracker, confused_labels: Sequence[ConfusedLabels]) -> None:
    confusion_rows = [
        {
            "true": label_pair.true_label,
            "predicted": label_pair.predicted_label,
            "items": label_pair.n_items,
        }
        for label_pair in confused_labels
    ]
    with tempfile.TemporaryDirectory() as artifact_dir:
        confusion_path = Path(artifact_dir) / "confusion.json"
        confusion_path.write_text(json.dumps(confusion_rows, indent=2), encoding="utf-8")
        run_tracker.artifact(confusion_path)


def _is_current(path: Path, classify_spec: ClassifySpec, catalogue: LabelledCatalogue) -> bool:
    """Whether a classifier reads the same columns, and the labelled items have not doubled."""
    try:
        text_classifier = load_classifier(path)
    except ArtifactError:  # damaged: it is trained again
        return False
    if text_classifier is None or text_classifier.source != training_source(classify_spec):
        return False
    n_train = float(catalogue.train.n_items.sum())
    return n_train <= _GROWTH * text_classifier.metrics.get(_N_TRAIN, 0.0)


def _note(column: str, values: Mapping[str, float], confused: tuple[ConfusedLabels, ...]) -> str:
    """Description of the run, with the labels that are confused most often."""
    note_lines = [
        f"Classifier of missing values of {markdown_text(column)}: macro-F1 "
        f"{values['macro_f1']:.3f} on {values['n_validation']:,.0f} held-back items, TF-IDF with "
        f"logistic regression {values['baseline_macro_f1']:.3f}.",
        "",
        "| Label | Predicted as | Items |",
        "|---|---|---:|",
    ]
    note_lines += [
        f"| {markdown_text(label_pair.true_label)} | {markdown_text(label_pair.predicted_label)} "
        f"| {label_pair.n_items:,} |"
        for label_pair in confused[:10]
    ]
    return "\n".join(note_lines)
