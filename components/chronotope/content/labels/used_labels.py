"""Predicted labels that stand in for missing ones of the catalogue."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.lake import Lake
from chronotope.lake import table_schemas as t
from chronotope.lake.text_filter import text_equals


def used_labels(item_lake: Lake, column: str) -> pa.Table:
    """Predicted labels in use: ``item_id``, ``label`` and ``confidence``.

    Args:
        item_lake: Lake of the dataset.
        column: Column whose missing values they stand for.
    """
    table_columns = [c.ITEM_ID, t.LABEL, t.CONFIDENCE]
    if not item_lake.exists("item_labels"):
        return pa.table(
            {
                column_name: pa.array([], t.ITEM_LABELS.field(column_name).type)
                for column_name in table_columns
            }
        )
    stored_rows = item_lake.read(
        "item_labels", columns=[*table_columns, t.COLUMN, t.ORIGIN, t.IS_USED]
    )
    is_wanted = pc.and_(
        pc.equal(stored_rows.column(t.COLUMN), column),
        pc.and_(pc.equal(stored_rows.column(t.ORIGIN), t.PREDICTED), stored_rows.column(t.IS_USED)),
    )
    return stored_rows.filter(is_wanted).select(table_columns)


def with_predicted_category(items: pa.Table, item_lake: Lake) -> pa.Table:
    """Items with a column ``predicted_category``, null where a category is given or none predicted.

    Args:
        items: Rows of the catalogue.
        item_lake: Lake of the dataset.
    """
    return _with_category_columns(items, item_lake, {c.PREDICTED_CATEGORY: t.LABEL})


def with_category_confidence(items: pa.Table, item_lake: Lake) -> pa.Table:
    """Items with columns ``predicted_category`` and ``category_confidence``, as above.

    Args:
        items: Rows of the catalogue.
        item_lake: Lake of the dataset.
    """
    label_columns = {c.PREDICTED_CATEGORY: t.LABEL, c.CATEGORY_CONFIDENCE: t.CONFIDENCE}
    return _with_category_columns(items, item_lake, label_columns)


def _with_category_columns(
    items: pa.Table, item_lake: Lake, label_columns: Mapping[str, str]
) -> pa.Table:
    """Items with columns of their predicted category; null where it is given, or not predicted."""
    used_rows = used_labels(item_lake, c.CATEGORY)
    label_rows = pc.index_in(items.column(c.ITEM_ID), used_rows.column(c.ITEM_ID).combine_chunks())
    for column_name, label_column in label_columns.items():
        label_values = used_rows.column(label_column).combine_chunks().take(label_rows)
        if c.CATEGORY in items.schema.names:
            is_given = pc.is_valid(items.column(c.CATEGORY))
            label_values = pc.if_else(is_given, pa.scalar(None, label_values.type), label_values)
        items = items.append_column(column_name, label_values)
    return items


def withdraw_labels(item_lake: Lake, columns: Collection[str]) -> int:
    """Stop using the predicted labels of all other columns; returns their number.

    Args:
        item_lake: Lake of the dataset.
        columns: Columns that the dataset's YAML still asks for.
    """
    if not item_lake.exists("item_labels"):
        return 0
    stored_rows = item_lake.read("item_labels")
    is_asked_for = pc.is_in(
        stored_rows.column(t.COLUMN), value_set=pa.array(sorted(columns), pa.string())
    )
    stored_rows = stored_rows.filter(
        pc.and_(stored_rows.column(t.IS_USED), pc.invert(is_asked_for))
    )
    if len(stored_rows):
        column_position = stored_rows.schema.get_field_index(t.IS_USED)
        unused_flags = pa.array([False] * len(stored_rows))
        stored_rows = stored_rows.set_column(
            column_position, t.ITEM_LABELS.field(t.IS_USED), unused_flags
        )
        item_lake.upsert_keyed("item_labels", stored_rows)
    return len(stored_rows)


@dataclass(frozen=True, slots=True)
class PredictedLabel:
    """Predicted label of one item that stands for a missing one.

    Attributes:
        column: Column of the catalogue.
        label: The label.
        confidence: Calibrated probability of the label.
        classifier: Digest of the classifier that predicted it.
    """

    column: str
    label: str
    confidence: float
    classifier: str


def item_labels(item_lake: Lake, item_id: str) -> tuple[PredictedLabel, ...]:
    """Predicted labels in use of one item, ordered by column.

    Args:
        item_lake: Lake of the dataset.
        item_id: The item.
    """
    if not item_lake.exists("item_labels"):
        return ()
    is_wanted = text_equals(c.ITEM_ID, item_id) & text_equals(t.ORIGIN, t.PREDICTED)
    label_rows = item_lake.dataset("item_labels").to_table(
        columns=[t.COLUMN, t.LABEL, t.CONFIDENCE, t.MODEL_DIGEST],
        filter=is_wanted & pc.field(t.IS_USED),
    )
    return tuple(
        PredictedLabel(
            label_row[t.COLUMN],
            label_row[t.LABEL],
            round(label_row[t.CONFIDENCE], 4),
            label_row[t.MODEL_DIGEST],
        )
        for label_row in label_rows.sort_by(t.COLUMN).to_pylist()
    )


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Labels of one column, as the lake holds them.

    Attributes:
        column: The column.
        n_given: Items whose label the catalogue has.
        n_predicted: Items whose predicted label is used.
        n_missing: Items without a label.
        mean_confidence: Mean confidence of the predicted labels in use; NaN if there is none.
    """

    column: str
    n_given: int
    n_predicted: int
    n_missing: int
    mean_confidence: float


def label_counts(item_lake: Lake) -> tuple[LabelCounts, ...]:
    """Counts of each column that a classifier fills; none if no label was ever predicted.

    Args:
        item_lake: Lake of the dataset.
    """
    if not item_lake.exists("item_labels"):
        return ()
    table_columns = [t.COLUMN, t.ORIGIN, t.IS_USED, t.CONFIDENCE]
    rows = item_lake.read("item_labels", columns=table_columns)
    return tuple(
        _counts_of(str(column), rows.filter(pc.equal(rows.column(t.COLUMN), column)))
        for column in sorted(rows.column(t.COLUMN).unique().to_pylist())
    )


def _counts_of(column: str, rows: pa.Table) -> LabelCounts:
    n_given = int(pc.sum(pc.equal(rows.column(t.ORIGIN), t.GIVEN)).as_py() or 0)
    used_confidence = rows.filter(rows.column(t.IS_USED)).column(t.CONFIDENCE)
    n_predicted = len(used_confidence)
    mean_confidence = pc.mean(used_confidence).as_py() if n_predicted else float("nan")
    return LabelCounts(
        column, n_given, n_predicted, len(rows) - n_given - n_predicted, float(mean_confidence)
    )
