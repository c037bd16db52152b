"""good + quarantined + dropped = read, always; all of a delivery lands, or none of it."""

import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronotope.contracts.errors import NotEnoughData, StoreError, ValidationFailed
from chronotope.contracts.schemas import EVENTS
from chronotope.contracts.validation_result import FailedExpectation, Severity, ValidationResult
from chronotope.datasets.normalise import normalise
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion import IngestBatch, IngestReport, ingest, payload_rows
from chronotope.lake import Lake

REFUSED = pa.schema([("row", pa.int64()), ("reasons", pa.list_(pa.string()))])
AT = datetime(2024, 1, 1, tzinfo=UTC)


def batch(kinds: str) -> IngestBatch:
    """One letter a row: x is unreadable, - dropped, ! fails the check, others are event ids."""
    kept = [n for n, kind in enumerate(kinds) if kind not in "x-"]
    event = {"user_id": "u", "item_id": "i", "event_type": "view", "occurred_at": AT}
    rows = [event | {"event_id": kinds[n]} for n in kept]
    bad = [{"row": n, "reasons": ["unreadable"]} for n, kind in enumerate(kinds) if kind == "x"]
    return IngestBatch(
        raw=pa.table({"kind": pa.array(list(kinds), pa.string()), "n": range(len(kinds))}),
        rows=pa.Table.from_pylist(rows, schema=EVENTS),
        row_positions=np.array(kept, dtype=np.int64),
        refused=pa.Table.from_pylist(bad, schema=REFUSED),
        dropped={"rule": kinds.count("-")} if "-" in kinds else {},
    )


def check(rows: pa.Table) -> ValidationResult:
    ids = rows.column("event_id").to_pylist()
    if "C" in ids:
        raise ValidationFailed("Critical")
    bad = [{"row": n, "reasons": ["loud"]} for n, name in enumerate(ids) if name == "!"]
    return ValidationResult("events", pa.Table.from_pylist(bad, schema=REFUSED), (), len(rows))


def deliver(root: Path, *kinds: str, run_id: str = "r") -> IngestReport:
    batches = (batch(each) for each in kinds)
    return ingest(batches, row_check=check, lake=Lake(root), run_id=run_id, source="s")


def test_rows_go_where_they_belong(tmp_path: Path) -> None:
    report = deliver(tmp_path, "ab!x", "bx")
    assert (report.n_read, report.n_good, report.n_duplicates) == (6, 3, 1)
    assert (report.n_quarantined, report.reasons) == (3, {"unreadable": 2, "loud": 1})
    rows = Lake(tmp_path).read("quarantine").sort_by("row")
    assert rows.column("row").to_pylist() == [2, 3, 5]
    assert rows.column("payload")[0].as_py() == '{"kind": "!", "n": 2}'


def test_the_same_run_twice_is_once(tmp_path: Path) -> None:
    first, again = deliver(tmp_path, "ab!x"), deliver(tmp_path, "ab!x")
    assert (first.version, again.version, again.n_duplicates) == (0, 0, 2)
    assert Lake(tmp_path).read("quarantine").num_rows == 2


def test_a_critical_failure_in_the_last_batch_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValidationFailed):
        deliver(tmp_path, "ab!", "C")
    assert not Lake(tmp_path).exists("events")
    assert not Lake(tmp_path).exists("quarantine")


class Watching:
    """A check that finds the delivery as a whole too small, or too small to accept."""

    def __init__(self, smallest: int) -> None:
        self.seen, self.smallest = 0, smallest

    def __call__(self, rows: pa.Table) -> ValidationResult:
        self.seen += len(rows)
        return check(rows)

    def delivery_findings(self) -> tuple[FailedExpectation, ...]:
        if self.seen < self.smallest:
            raise ValidationFailed("Too small")
        return (FailedExpectation("large", "", Severity.WARNING, 0, f"{self.seen} rows"),)


def test_the_delivery_as_a_whole_is_judged_before_anything_is_written(tmp_path: Path) -> None:
    lake, two = Lake(tmp_path), [batch("ab"), batch("!c")]
    with pytest.raises(ValidationFailed, match="Too small"):
        ingest(two, row_check=Watching(5), lake=lake, run_id="r", source="s")
    assert not lake.exists("events")
    report = ingest(two, row_check=Watching(4), lake=lake, run_id="r", source="s")
    assert [finding.observed for finding in report.findings] == ["4 rows"]


def test_a_delivery_without_a_good_row_only_fills_quarantine(tmp_path: Path) -> None:
    report = deliver(tmp_path, "xx", "!")
    assert (report.n_good, report.n_quarantined, report.version) == (0, 3, None)


def test_an_empty_delivery_says_so(tmp_path: Path) -> None:
    for kinds in ((), ("",)):
        with pytest.raises(NotEnoughData, match="no rows"):
            deliver(tmp_path, *kinds)


def test_a_lost_row_is_noticed(tmp_path: Path) -> None:
    short = batch("abx")
    lost = IngestBatch(short.raw, short.rows, short.row_positions, short.refused.slice(0, 0))
    with pytest.raises(StoreError, match=r"2 \+ 0 \+ 0 != 3"):
        ingest([lost], row_check=check, lake=Lake(tmp_path), run_id="r", source="s")


def refused_rows(folder: Path, run_id: str = "r") -> pa.Table:
    rows = Lake(folder).read("quarantine").to_pylist()
    return payload_rows([row["payload"] for row in rows if row["run_id"] == run_id])


def test_refused_rows_come_back_as_they_were_read(tmp_path: Path) -> None:
    deliver(tmp_path, "ax!")
    deliver(tmp_path, "x", run_id="other")
    raw = refused_rows(tmp_path).sort_by("n")
    assert raw.to_pylist() == [{"kind": "x", "n": 1}, {"kind": "!", "n": 2}]


def refused_lines(*line_numbers: int) -> pa.Table:
    rows = [
        {"source_file": "f.csv", "source_line": n, "source_text": f"Total,{n}", "reason": "ragged"}
        for n in line_numbers
    ]
    return pa.Table.from_pylist(rows)


def test_refused_lines_count_as_read_and_quarantined(tmp_path: Path) -> None:
    batches = [
        replace(batch("ab!"), refused_lines=refused_lines(4, 9)),
        batch("cx"),
        replace(batch(""), refused_lines=refused_lines(12)),
    ]
    for _ in range(2):  # the second time, nothing is quarantined again
        report = ingest(batches, row_check=check, lake=Lake(tmp_path), run_id="r", source="s")
        assert (report.n_read, report.n_good, report.n_quarantined) == (8, 3, 5)
        assert report.reasons == {"ragged": 3, "loud": 1, "unreadable": 1}
        rows = Lake(tmp_path).read("quarantine").sort_by("row")
        assert rows.column("row").to_pylist() == [-3, -2, -1, 2, 4]
        assert json.loads(rows.column("payload")[0].as_py())["source_text"] == "Total,12"


def test_refused_lines_are_replayed_as_rows_without_values(tmp_path: Path) -> None:
    lines_alone = replace(batch("a"), refused_lines=refused_lines(4))
    ingest([lines_alone], row_check=check, lake=Lake(tmp_path), run_id="r", source="s")
    raw = refused_rows(tmp_path)
    (row,) = raw.to_pylist()
    assert (row["source_line"], row["source_text"], row["user_id"]) == (4, "Total,4", None)
    spec = DatasetSpec.model_validate(
        {
            "name": "t",
            "description": "t",
            "licence": "t",
            "events": {
                "format": "csv",
                "path": "f.csv",
                "columns": {"user_id": "u", "item_id": "i", "occurred_at": "t"},
            },
        }
    )
    normalised = normalise(spec, raw)
    assert normalised.refused["row"].to_pylist() == [0]


@settings(max_examples=12, deadline=None)
@given(st.lists(st.text("abcdx!-", max_size=8), min_size=1, max_size=4))
def test_good_and_quarantined_are_what_was_read(kinds: list[str]) -> None:
    whole = "".join(kinds)
    if not whole:
        return
    with tempfile.TemporaryDirectory() as root:
        report = deliver(Path(root), *kinds)
        assert report.n_good + report.n_quarantined + report.n_dropped == report.n_read
        assert (report.n_read, report.n_dropped) == (len(whole), whole.count("-"))
        assert report.dropped == ({"rule": report.n_dropped} if report.n_dropped else {})
        assert report.repeated.n_rows == report.repeated.n_equal == report.n_duplicates
        assert report.n_quarantined == whole.count("x") + whole.count("!")
        assert report.n_good - report.n_duplicates == len(set(whole) - {"x", "!", "-"})
