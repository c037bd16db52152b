"""Classification of a catalogue: labels of new and changed items are written to the lake.

A label is identified by item and column. A row holds the digests of the classifier and of the
text, so an item whose text is the same is not classified again, and after a change of the
classifier every item without a label of its own is.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.content.embed_items import item_batches
from chronotope.content.inputs.item_inputs import ItemInput, TextReader
from chronotope.content.labels.label_report import ColumnLabelReport
from chronotope.content.labels.text_classifier import TextClassifier
from chronotope.contracts import columns as c
from chronotope.datasets.content_spec import ClassifySpec, TextContent
from chronotope.lake import Lake
from chronotope.lake import table_schemas as t

NOT_CONFIDENT: Final = "confidence below the threshold"
_COMMIT_ROWS: Final = 8_192


class _LabelRow(NamedTuple):
    item_id: str
    label: str | None
    confidence: float | None
    origin: str
    is_used: bool
    model_digest: str
    input_digest: str
    reason: str | None


@dataclass(slots=True)
class _Counts:
    n_items: int = 0
    n_given: int = 0
    n_predicted: int = 0
    n_classified: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, row: _LabelRow) -> None:
        """Count one item."""
        self.n_items += 1
        if row.origin == t.GIVEN:
            self.n_given += 1
        elif row.is_used:
            self.n_predicted += 1
        else:
            self.reasons[row.reason or NOT_CONFIDENT] += 1


def classify_items(
    item_lake: Lake,
    column: str,
    classify_spec: ClassifySpec,
    classifier: TextClassifier,
    *,
    dry_run: bool = False,
) -> ColumnLabelReport:
    """Classify the items of the lake that have no label, and whose text is new or changed.

    A label of the catalogue is never changed. Every prediction is stored with its confidence; the
    threshold decides which are used, so that another threshold needs no new classification.

    Args:
        item_lake: Lake of the dataset.
        column: Column whose missing values are predicted.
        classify_spec: Source of the text, and the wanted precision.
        classifier: The classifier.
        dry_run: Whether to count only, and write nothing.

    Raises:
        StoreError: The lake cannot be read or written.
    """
    min_confidence = used_confidence(classify_spec, classifier)
    reader = text_reader(classify_spec)
    known_rows = _known_rows(item_lake, column)
    label_counts, pending_rows = _Counts(), list[_LabelRow]()
    for item_rows in item_batches(item_lake, [*reader.columns, column]):
        for label_row, is_classified in _label_rows(
            item_rows, column, reader, classifier, known_rows
        ):
            used_row = label_row._replace(is_used=_is_used(label_row, min_confidence))
            label_counts.add(used_row)
            label_counts.n_classified += is_classified
            if used_row != known_rows.get(label_row.item_id):
                pending_rows.append(used_row)
        if len(pending_rows) >= _COMMIT_ROWS and not dry_run:
            _write(item_lake, column, pending_rows)
            pending_rows = []
    if pending_rows and not dry_run:
        _write(item_lake, column, pending_rows)
    return ColumnLabelReport(
        column=column,
        classifier=classifier.digest[:16],
        min_confidence=min_confidence,
        n_items=label_counts.n_items,
        n_given=label_counts.n_given,
        n_predicted=label_counts.n_predicted,
        n_missing=label_counts.reasons.total(),
        n_classified=label_counts.n_classified,
        reasons=dict(label_counts.reasons.most_common()),
        metrics=classifier.metrics,
    )


def used_confidence(classify_spec: ClassifySpec, classifier: TextClassifier) -> float | None:
    """Confidence from which a predicted label is used; None if none is precise enough.

    Args:
        classify_spec: Wanted precision, or the confidence itself.
        classifier: Classifier with its confidence on held-back items.
    """
    if classify_spec.min_confidence is not None:
        return classify_spec.min_confidence
    return classifier.validation.threshold(classify_spec.min_precision)


def text_reader(classify_spec: ClassifySpec) -> TextReader:
    """Reader of the texts that a label is predicted from.

    Args:
        classify_spec: Source of the text.
    """
    return TextReader(TextContent(columns=classify_spec.columns, max_chars=classify_spec.max_chars))


def _label_rows(
    item_rows: Sequence[dict[str, Any]],
    column: str,
    reader: TextReader,
    classifier: TextClassifier,
    known_rows: dict[str, _LabelRow],
) -> Iterator[tuple[_LabelRow, bool]]:
    """Row of each item of a batch, and whether it was classified now."""
    unknown_inputs: list[tuple[str, ItemInput]] = []
    for item_row in item_rows:
        item_id, given_label = str(item_row[c.ITEM_ID]), item_row[column]
        item_input, known_row = reader.read(item_row), known_rows.get(item_id)
        if given_label is not None:
            label_text, content_digest = str(given_label), item_input.digest
            yield (
                _LabelRow(item_id, label_text, None, t.GIVEN, False, "", content_digest, None),
                False,
            )
        elif known_row is not None and _is_current(known_row, item_input, classifier):
            yield known_row, False
        else:
            unknown_inputs.append((item_id, item_input))
    for label_row in _predicted_rows(unknown_inputs, classifier):
        yield label_row, True


def _is_used(row: _LabelRow, min_confidence: float | None) -> bool:
    """Whether a predicted label is certain enough."""
    return (
        row.origin == t.PREDICTED
        and row.confidence is not None
        and min_confidence is not None
        and row.confidence >= min_confidence
    )


def _is_current(known_row: _LabelRow, item_input: ItemInput, classifier: TextClassifier) -> bool:
    return (
        known_row.origin == t.PREDICTED
        and known_row.model_digest == classifier.digest
        and known_row.input_digest == item_input.digest
    )


def _predicted_rows(
    unknown_inputs: Sequence[tuple[str, ItemInput]], classifier: TextClassifier
) -> Iterator[_LabelRow]:
    readable_inputs = [
        (item_id, item_input)
        for item_id, item_input in unknown_inputs
        if item_input.raw is not None
    ]
    if readable_inputs:
        label_predictions = classifier.predict(
            [str(item_input.raw) for _, item_input in readable_inputs]
        )
        for (item_id, item_input), label_idx, label_confidence in zip(
            readable_inputs, label_predictions.label_idx, label_predictions.confidence, strict=True
        ):
            yield _LabelRow(
                item_id,
                classifier.labels[label_idx],
                float(label_confidence),
                t.PREDICTED,
                False,
                classifier.digest,
                item_input.digest,
                None,
            )
    for item_id, item_input in unknown_inputs:
        if item_input.raw is None:
            yield _LabelRow(
                item_id,
                None,
                None,
                t.PREDICTED,
                False,
                classifier.digest,
                item_input.digest,
                item_input.reason,
            )


def _write(item_lake: Lake, column: str, rows: Sequence[_LabelRow]) -> None:
    table_columns = dict(zip(_LabelRow._fields, map(list, zip(*rows, strict=True)), strict=True))
    item_lake.upsert_keyed(
        "item_labels",
        pa.table(
            {
                t.LABEL_KEY: [_row_key(label_row.item_id, column) for label_row in rows],
                t.COLUMN: [column] * len(rows),
                **{
                    name: pa.array(column_values, t.ITEM_LABELS.field(name).type)
                    for name, column_values in table_columns.items()
                },
            }
        ),
    )


def _row_key(item_id: str, column: str) -> str:
    key_content = f"{column}\n{item_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(key_content, digest_size=16).hexdigest()


def _known_rows(item_lake: Lake, column: str) -> dict[str, _LabelRow]:
    if not item_lake.exists("item_labels"):
        return {}
    table_columns = [*_LabelRow._fields, t.COLUMN]
    stored_rows = item_lake.read("item_labels", columns=table_columns)
    column_rows = stored_rows.filter(pc.equal(stored_rows.column(t.COLUMN), column))
    return {
        label_row[c.ITEM_ID]: _LabelRow(**label_row)
        for label_row in column_rows.select(list(_LabelRow._fields)).to_pylist()
    }
