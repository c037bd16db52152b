"""Logs in random dialects: the same events reach the lake, or they are refused, nothing else."""

import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronotope.contracts import columns as c
from chronotope.datasets.loading import load_spec
from chronotope.ingestion import ingest
from chronotope.ingestion.pipeline import IngestReport
from chronotope.ingestion.source_batches import read_batches
from chronotope.lake import Lake
from chronotope.pipelines.ingest_checks import batch_check

SUITES = Path("expectations")

Event = tuple[str, str, datetime]

ALPHABETS = {
    "utf-8": "aZ09é会\u2013😀_-./#'&<>%",
    "utf-8-sig": "aZ09é会_-./",
    "utf-16": "aZ09é会\u2013_-./",
    "latin-1": "aZ09éßñ_-./#",
    "cp1252": "aZ09é\u2013€_-./",
    "gbk": "aZ09会员店_-./",
    "cp932": "aZ09会員店_-./",
}

INDIA = timezone(timedelta(hours=5, minutes=30))

TIME_FORMS: dict[str, tuple[dict[str, Any], Any]] = {
    "iso_z": ({}, lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ")),
    "iso_offset": ({}, lambda at: at.astimezone(INDIA).isoformat()),
    "iso_offset_zone": (
        {"timezone": "America/New_York"},
        lambda at: at.astimezone(INDIA).isoformat(sep=" "),
    ),
    "iso_local": (
        {"timezone": "Asia/Kolkata"},
        lambda at: at.astimezone(INDIA).strftime("%Y-%m-%d %H:%M:%S"),
    ),
    "utc_word": (
        {"timezone": "Asia/Kolkata"},
        lambda at: at.strftime("%Y-%m-%d %H:%M:%S UTC"),
    ),
    "fixed_offset": (
        {"timezone": "UTC+5:30"},
        lambda at: at.astimezone(INDIA).strftime("%Y-%m-%dT%H:%M:%S"),
    ),
    "epoch_s": ({"kind": "epoch_s"}, lambda at: str(int(at.timestamp()))),
    "epoch_s_float": ({"kind": "epoch_s"}, lambda at: f"{int(at.timestamp())}.0"),
    "epoch_ms": ({"kind": "epoch_ms"}, lambda at: str(int(at.timestamp()) * 1_000)),
    "epoch_us": ({"kind": "epoch_us"}, lambda at: str(int(at.timestamp()) * 1_000_000)),
    "epoch_ns": ({"kind": "epoch_ns"}, lambda at: str(int(at.timestamp()) * 1_000_000_000)),
    "german": (
        {"kind": "strptime", "pattern": "%d.%m.%Y %H:%M:%S"},
        lambda at: at.strftime("%d.%m.%Y %H:%M:%S"),
    ),
    "zone_in_pattern": (
        {"kind": "strptime", "pattern": "%a %b %d %H:%M:%S %z %Y", "timezone": "Asia/Tokyo"},
        lambda at: at.astimezone(INDIA).strftime("%a %b %d %H:%M:%S %z %Y"),
    ),
}
"""Settings of the time column, and how a time is written."""


@dataclass(frozen=True)
class Dialect:
    """How a log is written.

    Attributes:
        delimiter, quote, newline, encoding: As in a CSV file; no quote: None.
        has_header: Whether the first line holds the names.
        time_form: One of ``TIME_FORMS``.
        always_quoted: Whether fields are quoted that need not be.
        null_word: A missing price.
        comment: Comment line before the header, or None.
    """

    delimiter: str
    quote: str | None
    newline: str
    encoding: str
    has_header: bool
    time_form: str
    always_quoted: bool
    null_word: str
    comment: str | None

    def field(self, text: str) -> str:
        """A field, quoted where it has to be."""
        if self.quote is None:
            return text
        special = (self.delimiter, self.quote, " ")
        if not self.always_quoted and not any(mark in text for mark in special):
            return text
        return self.quote + text.replace(self.quote, 2 * self.quote) + self.quote

    def line(self, fields: list[str]) -> str:
        """A line of the file."""
        return self.delimiter.join(map(self.field, fields))


@st.composite
def dialects(draw: st.DrawFn) -> Dialect:
    encoding = draw(st.sampled_from(sorted(ALPHABETS)))
    return Dialect(
        delimiter=draw(st.sampled_from([",", ";", "\t", "|", "::"])),
        quote=draw(st.sampled_from(['"', "'", None])),
        newline=draw(st.sampled_from(["\n", "\r\n"])),
        encoding=encoding,
        has_header=draw(st.booleans()),
        time_form=draw(st.sampled_from(sorted(TIME_FORMS))),
        always_quoted=draw(st.booleans()),
        null_word=draw(st.sampled_from(["", "NULL", "-", "\\N", "NaN"])),
        comment=draw(st.sampled_from([None, "# exported 2024"])),
    )


@st.composite
def logs(draw: st.DrawFn) -> tuple[Dialect, list[Event], list[str]]:
    """A dialect, events, and the price of each."""
    dialect = draw(dialects())
    marks = "" if dialect.quote is None else dialect.delimiter + dialect.quote + " "
    letters = st.text(ALPHABETS[dialect.encoding] + marks, min_size=1, max_size=8)
    ids = letters.map(lambda text: f"x{text}y")  # no null word, no number, no space at the ends
    if dialect.quote is None:
        ids = ids.filter(lambda text: dialect.delimiter not in text)
    seconds = st.integers(662_688_000, 1_700_000_000)
    times = seconds.map(lambda second: datetime.fromtimestamp(second, UTC))
    events = draw(st.lists(st.tuples(ids, ids, times), min_size=1, max_size=12))
    prices = st.sampled_from(["1.5", "-2", dialect.null_word])
    return dialect, events, [draw(prices) for _ in events]


def write(folder: Path, dialect: Dialect, lines: list[str]) -> None:
    head = [] if dialect.comment is None else [dialect.comment]
    head += [dialect.line(["who", "what", "when", "price"])] if dialect.has_header else []
    text = dialect.newline.join([*head, *lines]) + dialect.newline
    (folder / "log.csv").write_bytes(text.encode(dialect.encoding))
    time_settings, _ = TIME_FORMS[dialect.time_form]
    table: dict[str, Any] = {
        "format": "csv",
        "path": "log.csv",
        "delimiter": dialect.delimiter,
        "quote": dialect.quote,
        "encoding": dialect.encoding,
        "columns": {c.USER_ID: "who", c.ITEM_ID: "what", c.OCCURRED_AT: "when", c.VALUE: "price"},
    }
    if not dialect.has_header:
        table |= {"header": False, "names": ["who", "what", "when", "price"]}
    if dialect.comment is not None:
        table["comment"] = "# "
    spec = {"name": "log", "description": "", "licence": "", "time": time_settings, "events": table}
    (folder / "log.yaml").write_text(yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")


def ingested(folder: Path) -> tuple[IngestReport, Counter[Event]]:
    """Report of an ingestion, and the events in the lake."""
    spec = load_spec(folder / "log.yaml", data_dir=folder)
    lake = Lake(folder / "lake")
    report = ingest(
        read_batches(spec, 5_000),
        row_check=batch_check(lake, SUITES),
        lake=lake,
        run_id="r",
        source="s",
    )
    if report.version is None:
        return report, Counter()
    rows = lake.read("events", columns=[c.USER_ID, c.ITEM_ID, c.OCCURRED_AT]).to_pylist()
    return report, Counter(tuple(row.values()) for row in rows)


def written(dialect: Dialect, events: list[Event], prices: list[str]) -> list[str]:
    _, time_text = TIME_FORMS[dialect.time_form]
    return [
        dialect.line([user, item, time_text(at), price])
        for (user, item, at), price in zip(events, prices, strict=True)
    ]


@given(logs())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_events_of_a_log_reach_the_lake(log: tuple[Dialect, list[Event], list[str]]) -> None:
    dialect, events, prices = log
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), dialect, written(dialect, events, prices))
        report, stored = ingested(Path(folder))
    assert report.n_read == len(events)
    assert report.n_quarantined == 0, report.reasons
    assert stored == Counter(set(events))


FAULTS = ("ragged", "total", "open_quote", "broken_time", "no_user")


@given(
    logs(), st.lists(st.tuples(st.sampled_from(FAULTS), st.integers(0, 12)), min_size=1, max_size=4)
)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_broken_line_is_refused_and_takes_no_other_with_it(
    log: tuple[Dialect, list[Event], list[str]], faults: list[tuple[str, int]]
) -> None:
    dialect, events, prices = log
    lines = written(dialect, events, prices)
    when = lines[0]
    for fault, position in faults:
        broken = {
            "ragged": dialect.delimiter.join(["u", "i", "more", "fields", "than", "columns"]),
            "total": dialect.delimiter.join(["Total", "60"]),
            "open_quote": dialect.delimiter.join(['"open', "i"]),
            "broken_time": dialect.delimiter.join(["u", "i", "yesterday", "1"]),
            "no_user": dialect.delimiter.join(["", "i", when.split(dialect.delimiter)[2], "1"]),
        }[fault]
        # The first line of a file without a header has to have the columns of `names`.
        first_position = 0 if dialect.has_header else 1
        lines.insert(max(first_position, min(position, len(lines))), broken)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), dialect, lines)
        report, stored = ingested(Path(folder))
    assert report.n_quarantined == len(faults), report.reasons
    assert report.n_read == len(events) + len(faults)
    assert stored == Counter(set(events))
