"""Missing labels of a lake: predicted once, never over a given one, and used when certain."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chronotope.content.labels.calibration import ValidationConfidence
from chronotope.content.labels.classify_items import NOT_CONFIDENT, classify_items
from chronotope.content.labels.label_report import ColumnLabelReport
from chronotope.content.labels.text_classifier import LabelPredictions
from chronotope.content.labels.used_labels import (
    item_labels,
    used_labels,
    with_category_confidence,
    with_predicted_category,
    withdraw_labels,
)
from chronotope.datasets.content_spec import ClassifySpec
from chronotope.lake import Lake

SPEC = ClassifySpec(columns=("title",), min_confidence=0.7)
TITLES = {"a": "rye bread", "b": "green tea", "c": "odd", "d": "", "e": "sencha tea"}
CATEGORIES = {"a": "bakery", "b": None, "c": None, "d": None, "e": None}


class ToyClassifier:
    """Tea with certainty, anything else with little."""

    labels = ("bakery", "tea")
    validation = ValidationConfidence(np.full(30, 0.6, np.float32), np.arange(30) < 27)
    source = ""

    def __init__(self, digest: str = "a" * 64) -> None:
        self.digest = digest
        self.metrics = {"macro_f1": 0.5}
        self.n_texts = 0

    def predict(self, texts: list[str]) -> LabelPredictions:
        self.n_texts += len(texts)
        is_tea = np.array(["tea" in text for text in texts])
        return LabelPredictions(is_tea.astype(np.int64), np.where(is_tea, 0.9, 0.6).astype("f4"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    shop = Lake(tmp_path / "lake")
    shop.upsert_items(items())
    return shop


def items(**changes: str) -> pa.Table:
    titles = TITLES | changes
    categories = list(CATEGORIES.values())
    return pa.table(
        {
            "item_id": list(titles),
            "title": list(titles.values()),
            "category": pa.array(categories, pa.string()),
        }
    )


def classify(
    lake: Lake, classifier: ToyClassifier, spec: ClassifySpec = SPEC, **options: bool
) -> ColumnLabelReport:
    return classify_items(lake, "category", spec, classifier, **options)  # type: ignore[arg-type]


def test_given_labels_stay_and_uncertain_ones_are_not_used(lake: Lake) -> None:
    report = classify(lake, ToyClassifier())
    assert (report.n_items, report.n_given, report.n_predicted, report.n_missing) == (5, 1, 2, 2)
    assert report.reasons == {NOT_CONFIDENT: 1, "text is empty": 1}
    assert report.n_classified == 4
    rows = {row["item_id"]: row for row in lake.read("item_labels").to_pylist()}
    assert (rows["a"]["label"], rows["a"]["origin"]) == ("bakery", "given")
    assert (rows["b"]["label"], rows["b"]["origin"], rows["b"]["is_used"]) == (
        "tea",
        "predicted",
        True,
    )
    assert rows["c"]["is_used"] is False
    assert rows["c"]["confidence"] == pytest.approx(0.6)


def test_the_second_run_classifies_nothing_and_writes_nothing(lake: Lake) -> None:
    classifier = ToyClassifier()
    classify(lake, classifier)
    version, n_texts = lake.version("item_labels"), classifier.n_texts
    report = classify(lake, classifier)
    assert (report.n_classified, report.n_predicted) == (0, 2)
    assert classifier.n_texts == n_texts
    assert lake.version("item_labels") == version


def test_only_changed_texts_are_classified_and_a_given_label_replaces_a_predicted_one(
    lake: Lake,
) -> None:
    classifier = ToyClassifier()
    classify(lake, classifier)
    lake.upsert_items(items(c="black tea"))
    assert classify(lake, classifier).n_classified == 1
    lake.upsert_items(pa.table({"item_id": ["b"], "title": ["green tea"], "category": ["drinks"]}))
    report = classify(lake, classifier)
    assert (report.n_given, report.n_classified) == (2, 0)
    assert used_labels(lake, "category")["item_id"].to_pylist() == ["c", "e"]


def test_another_classifier_and_another_threshold(lake: Lake) -> None:
    classify(lake, ToyClassifier())
    lower = ClassifySpec(columns=("title",), min_confidence=0.5)
    report = classify(lake, ToyClassifier(), lower)
    assert (report.n_classified, report.n_predicted) == (0, 3)  # nothing is classified again
    assert classify(lake, ToyClassifier("b" * 64)).n_classified == 4


def test_without_a_precise_confidence_no_label_is_used(lake: Lake) -> None:
    report = classify(lake, ToyClassifier(), ClassifySpec(columns=("title",), min_precision=0.95))
    assert report.min_confidence is None
    assert (report.n_predicted, report.reasons[NOT_CONFIDENT]) == (0, 3)
    precise = classify(lake, ToyClassifier(), ClassifySpec(columns=("title",), min_precision=0.9))
    assert precise.min_confidence == pytest.approx(0.6)
    assert precise.n_predicted == 3


def test_a_dry_run_writes_nothing(lake: Lake) -> None:
    assert classify(lake, ToyClassifier(), dry_run=True).n_predicted == 2
    assert not lake.exists("item_labels")


def test_predicted_categories_stand_beside_the_given_ones(lake: Lake) -> None:
    classify(lake, ToyClassifier())
    filled = with_predicted_category(lake.read("items"), lake)
    by_item = dict(
        zip(filled["item_id"].to_pylist(), filled["predicted_category"].to_pylist(), strict=True)
    )
    assert by_item == {"a": None, "b": "tea", "c": None, "d": None, "e": "tea"}
    confident = with_category_confidence(lake.read("items"), lake)
    assert confident["predicted_category"] == filled["predicted_category"]
    assert [value is not None for value in confident["category_confidence"].to_pylist()] == [
        label is not None for label in filled["predicted_category"].to_pylist()
    ]
    (label,) = item_labels(lake, "b")
    assert (label.column, label.label) == ("category", "tea")
    assert label.confidence > 0
    assert label.classifier
    assert item_labels(lake, "a") == item_labels(lake, "no' OR 1=1") == ()
    assert withdraw_labels(lake, ["category"]) == 0
    assert withdraw_labels(lake, []) == 2
    assert len(used_labels(lake, "category")) == 0
    assert item_labels(lake, "b") == ()


def test_without_labels_nothing_is_filled(lake: Lake) -> None:
    filled = with_predicted_category(lake.read("items"), lake)
    assert filled["predicted_category"].null_count == len(filled)
    assert withdraw_labels(lake, []) == 0
