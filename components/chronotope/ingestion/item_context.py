"""Ingestion of the item context: new and changed rows are validated, and merged by key."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.protocols import RowCheck
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.item_context_rows import item_context_schema, read_item_context
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion.table_ingestion import TableReport, quarantine_lines, quarantine_rows
from chronotope.lake import Lake
from chronotope.lake.keyed import KeyedDelivery, keyed_delivery
from chronotope.lake.posted import PostedItemContext
from chronotope.lake.row_conformance import is_in_sorted, row_hashes
from chronotope.lake.table_schemas import ITEM_CONTEXT_TABLE, ROW

_LOG = logging.getLogger(__name__)

_KEY = (c.ITEM_ID, c.PLACE_ID, c.VALID_FROM)


def ingest_item_context(
    dataset_spec: DatasetSpec,
    *,
    row_check: RowCheck,
    lake: Lake,
    run_id: str,
    batch_rows: int,
    posted_path: Path | None = None,
) -> tuple[TableReport, SourceReport]:
    """Validate the item context, quarantine failing rows, and merge the new and changed ones.

    A delivery is one commit, in which the last of several rows with one key counts. Rows that are
    stored already are only counted.

    Args:
        dataset_spec: The dataset.
        row_check: Check of the rows.
        lake: Destination of valid and refused rows.
        run_id: Id of the delivery.
        batch_rows: Rows of a batch.
        posted_path: Log of the rows that were posted to a service; they are merged last.

    Returns:
        Row counts and the report of the reader.

    Raises:
        ConfigError: The dataset has no item context.
    """
    if dataset_spec.item_context is None:
        raise ConfigError("The dataset has no item context", received=dataset_spec.name)
    source_report = SourceReport()
    delivery = _Delivery(dataset_spec, row_check, lake, run_id)
    schema = item_context_schema(dataset_spec.item_context)
    with keyed_delivery(lake.root, ITEM_CONTEXT_TABLE, _KEY) as staged:
        delivery.stage(staged, batch_rows, source_report)
        _commit(staged, lake, schema)
    if posted_path is not None and posted_path.is_file():
        _merge_posted(posted_path, lake, schema)
    for refused_rows in delivery.refused:
        lake.quarantine(refused_rows)
    reason_texts = delivery.reasons + quarantine_lines(
        source_report, delivery.source_name, run_id, lake
    )
    n_lines = reason_texts.total() - delivery.reasons.total()
    report = TableReport(
        n_read=delivery.n_read + n_lines,
        n_good=delivery.n_read - delivery.n_refused,
        n_quarantined=delivery.n_refused + n_lines,
        reasons=dict(reason_texts.most_common()),
    )
    return report, source_report


def _commit(staged: KeyedDelivery, lake: Lake, schema: pa.Schema) -> None:
    """Write the staged rows as one version; none without a new or changed row."""
    is_last = staged.is_last_of_key()
    n_repeated = int((~is_last).sum())
    if n_repeated:
        _LOG.info("%s rows repeat the item, place and start of a later row", f"{n_repeated:,}")
    if staged.paths or not lake.exists(ITEM_CONTEXT_TABLE):
        lake.upsert_stream(ITEM_CONTEXT_TABLE, schema, lambda: staged.rows(is_last))


def _merge_posted(posted_path: Path, lake: Lake, schema: pa.Schema) -> None:
    posted = PostedItemContext(posted_path)
    try:
        posted_rows = posted.table(schema)
    finally:
        posted.close()
    if len(posted_rows):
        lake.upsert_keyed(ITEM_CONTEXT_TABLE, posted_rows)


class _Delivery:
    """Batches of one delivery and their counts."""

    def __init__(
        self, dataset_spec: DatasetSpec, row_check: RowCheck, lake: Lake, run_id: str
    ) -> None:
        self.dataset_spec, self.row_check, self.lake = dataset_spec, row_check, lake
        self.run_id, self.source_name = run_id, f"{dataset_spec.name}.{ITEM_CONTEXT_TABLE}"
        self.reasons: Counter[str] = Counter()
        self.refused: list[pa.Table] = []
        self.n_read, self.n_refused = 0, 0

    def stage(self, staged: KeyedDelivery, batch_rows: int, source_report: SourceReport) -> None:
        """Stage the new and changed rows that pass the suite.

        Args:
            staged: Receiver of the rows, the unchanged ones included.
            batch_rows: Rows of a batch.
            source_report: Report of the reader.
        """
        known_hashes = self._known_hashes()
        for raw_rows, rows in read_item_context(self.dataset_spec, batch_rows, source_report):
            self.n_read += len(rows)
            is_changed = np.ones(len(rows), np.bool_)
            if known_hashes is not None:
                is_changed = ~is_in_sorted(row_hashes(rows), known_hashes)
            is_good = np.ones(len(rows), np.bool_)
            if is_changed.any():
                changed_idx = np.flatnonzero(is_changed)
                changed_rows = rows if is_changed.all() else rows.filter(pa.array(is_changed))
                is_good[changed_idx] = self._pass_suite(changed_rows, raw_rows, changed_idx)
            good_rows = rows if is_good.all() else rows.filter(pa.array(is_good))
            staged.add(good_rows, is_changed[is_good])

    def _pass_suite(
        self, rows: pa.Table, raw_rows: pa.Table, row_positions: np.ndarray
    ) -> np.ndarray:
        """Whether each row passes the suite, bool, shape (n,); the others are kept as refused."""
        result = self.row_check(rows)
        is_good = np.ones(len(rows), np.bool_)
        if not len(result.failing):
            return is_good
        failing_idx = result.failing.column("row").to_numpy()
        refused_rows = quarantine_rows(
            self.source_name, raw_rows.take(pa.array(row_positions)), result, self.run_id
        )
        n_before = self.n_read - len(raw_rows)
        row_field = refused_rows.schema.get_field_index(ROW)
        row_numbers = pc.add(refused_rows[ROW], n_before)
        self.refused.append(refused_rows.set_column(row_field, ROW, row_numbers))
        self.n_refused += len(failing_idx)
        self.reasons.update(pc.list_flatten(result.failing.column(c.REASONS)).to_pylist())
        is_good[failing_idx] = False
        return is_good

    def _known_hashes(self) -> np.ndarray | None:
        """Hashes of the stored rows, sorted; None before the first delivery."""
        if not self.lake.exists(ITEM_CONTEXT_TABLE) or self.dataset_spec.item_context is None:
            return None
        stored = self.lake.dataset(ITEM_CONTEXT_TABLE)
        names = item_context_schema(self.dataset_spec.item_context).names
        if not set(names) <= set(stored.schema.names):  # a column was added: all rows change
            return np.zeros(0, np.uint64)
        batches = stored.to_batches(columns=names)
        hashes = [row_hashes(pa.Table.from_batches([batch])) for batch in batches]
        return np.unique(np.concatenate([np.zeros(0, np.uint64), *hashes]))
