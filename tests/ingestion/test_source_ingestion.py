"""A source in parts, on every engine: what one batch after the other would store."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from chronotope.contracts.errors import SourceError
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.source_parts import divide_source
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion import IngestReport, ingest
from chronotope.ingestion.source_batches import delivery_id, read_batches
from chronotope.ingestion.source_ingestion import ingest_source
from chronotope.lake import Lake
from chronotope.pipelines.ingest_checks import batch_check, shared_check
from chronotope.runtime.engine import Engine, EngineConfig, LocalEngine, open_engine

SUITES = Path(__file__).parents[2] / "expectations"
N_ROWS = 3_000
BATCH_ROWS = 1_000


@pytest.fixture(scope="module")
def processes() -> Iterator[Engine]:
    with open_engine(EngineConfig(kind="processes", n_workers=2)) as engine:
        yield engine


def raw_log() -> pa.Table:
    """Rows of 37 users, some of which repeat others, have no user, or lie in the future."""
    numbers, years = [n % 2_700 for n in range(N_ROWS)], {False: 24, True: 99}
    return pa.table(
        {
            "who": [None if n % 97 == 5 else f"u{n % 37}" for n in numbers],
            "what": [f"i{n % 11}" for n in numbers],
            "at": [
                f"20{years[n % 83 == 7]}-01-{n % 28 + 1:02d}T{n // 28 % 24:02d}:00:{n // 672:02d}Z"
                for n in numbers
            ],
            "price": ["free" if at % 59 == 3 else str(n / 4) for at, n in enumerate(numbers)],
        }
    )


def spec_of(folder: Path, source: dict[str, Any], **more: Any) -> DatasetSpec:
    columns = {"user_id": "who", "item_id": "what", "occurred_at": "at", "value": "price"}
    return DatasetSpec.model_validate(
        {"name": "shop", "data_dir": str(folder), "events": {**source, "columns": columns}, **more}
    )


def parquet_files(folder: Path) -> DatasetSpec:
    log = raw_log()
    for number, start in enumerate((0, 1_100, 1_900)):
        rows = log.slice(start, (1_100, 800, 1_100)[number])
        pq.write_table(rows, folder / f"log-{number}.parquet", row_group_size=250)
    return spec_of(folder, {"format": "parquet", "path": "."})


def csv_files(folder: Path) -> DatasetSpec:
    log = raw_log()
    for number in range(6):
        rows = log.slice(number * 500, 500)
        if number == 3:
            rows = rows.drop_columns("price")  # optional, and in the other files
        pcsv.write_csv(rows, folder / f"log-{number}.csv")
        with (folder / f"log-{number}.csv").open("a") as file:
            file.write("a line,of,too,many,fields\n" * (number % 3))
    return spec_of(folder, {"format": "csv", "path": "*.csv", "max_refused_share": 0.1})


def one_csv_file(folder: Path) -> DatasetSpec:
    pcsv.write_csv(raw_log(), folder / "log.csv")
    with (folder / "log.csv").open("a") as file:
        file.write("a line,of,too,many,fields\n")
    return spec_of(folder, {"format": "csv", "path": "log.csv", "max_refused_share": 0.1})


def json_lines(folder: Path) -> DatasetSpec:
    lines = [json.dumps(row) for row in raw_log().to_pylist()]
    (folder / "log.jsonl").write_text("\n".join(lines))
    return spec_of(folder, {"format": "json", "path": "log.jsonl"})


def occurrences(folder: Path) -> DatasetSpec:
    return parquet_files(folder).model_copy(update={"identity": ("occurrence",)})


SOURCES = {
    "parquet": parquet_files,
    "csv files": csv_files,
    "one csv file": one_csv_file,
    "json": json_lines,
    "occurrence": occurrences,
}


def in_order(spec: DatasetSpec, root: Path) -> tuple[IngestReport, SourceReport, Lake]:
    lake, report = Lake(root), SourceReport()
    done = ingest(
        read_batches(spec, BATCH_ROWS, report),
        row_check=batch_check(lake, SUITES),
        lake=lake,
        run_id=delivery_id(spec),
        source=spec.name,
        user_buckets=spec.user_buckets,
    )
    return done, report, lake


def in_parts(
    spec: DatasetSpec, root: Path, engine: Engine, **more: Any
) -> tuple[IngestReport, SourceReport, Lake]:
    lake, report = Lake(root), SourceReport()
    done = ingest_source(
        spec,
        lake=lake,
        engine=engine,
        prepare_check=partial(shared_check, lake, SUITES),
        batch_rows=BATCH_ROWS,
        source_report=report,
        **more,
    )
    return done, report, lake


def stored(lake: Lake, table: str, key: str, without: str = "") -> list[dict[str, Any]]:
    rows = lake.read(table)
    rows = rows.drop_columns(without) if without else rows
    return sorted(rows.to_pylist(), key=lambda row: (row[key], str(row)))


@pytest.mark.parametrize(
    ("source", "n_buckets"),
    [
        ("parquet", 1),
        ("parquet", 4),
        ("csv files", 4),
        ("one csv file", 1),
        ("json", 4),
        ("occurrence", 4),
    ],
)
def test_parts_store_what_one_batch_after_the_other_stores(
    tmp_path: Path, source: str, n_buckets: int, processes: Engine
) -> None:
    (tmp_path / "source").mkdir()
    spec = SOURCES[source](tmp_path / "source").model_copy(update={"user_buckets": n_buckets})
    expected, lines, lake = in_order(spec, tmp_path / "order")
    assert expected.n_good + expected.n_quarantined == expected.n_read
    assert expected.n_quarantined > 30
    assert (expected.n_duplicates > 200) == (source != "occurrence")
    engines = {"local": LocalEngine(), "processes": processes}
    for name, engine in engines.items():
        done, part_lines, part_lake = in_parts(spec, tmp_path / name, engine)
        findings = {finding.expectation for finding in done.findings}
        assert findings == {finding.expectation for finding in expected.findings}
        differing = {"findings": None}
        assert asdict(done) | differing == asdict(expected) | differing
        assert part_lines.files == lines.files
        assert part_lake.n_buckets() == n_buckets
        assert stored(part_lake, "events", "event_id") == stored(lake, "events", "event_id")
        when = "quarantined_at"
        assert stored(part_lake, "quarantine", "row", when) == stored(
            lake, "quarantine", "row", when
        )
        assert not list((tmp_path / name).glob(".staging*"))
    again, _, _ = in_parts(spec, tmp_path / "processes", processes)
    assert again.n_duplicates == again.n_good == expected.n_good
    assert len(part_lake.read("quarantine")) == expected.n_quarantined


def test_parts_are_row_groups_of_about_a_batch(tmp_path: Path) -> None:
    parts = divide_source(parquet_files(tmp_path), 600)
    assert parts is not None
    shapes = [[(part.file.path.name[4], part.row_groups) for part in each.slices] for each in parts]
    assert shapes[:3] == [
        [("0", (0, 2))],
        [("0", (2, 5))],
        [("1", (0, 2))],
    ]
    assert sum(stop - start for part in shapes for _, (start, stop) in part) == 5 + 4 + 5


def test_the_first_rows_are_shown_even_of_a_delivery_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    (tmp_path / "source").mkdir()
    spec = parquet_files(tmp_path / "source")
    in_parts(spec, tmp_path / "lake", LocalEngine(), on_sample=lambda rows: shown.append(len(rows)))
    assert len(shown) == 1
    assert 800 < shown[0] <= BATCH_ROWS

    def refuse(*_: object, **__: object) -> None:
        raise SourceError("damaged")

    monkeypatch.setattr("chronotope.ingestion.part_task.stage_batch", refuse)
    with pytest.raises(SourceError, match="damaged"):
        in_parts(
            spec, tmp_path / "other", LocalEngine(), on_sample=lambda rows: shown.append(len(rows))
        )
    assert len(shown) == 2
    assert not Lake(tmp_path / "other").exists("events")
    assert not list((tmp_path / "other").glob("**/*.parquet"))


def test_an_error_of_a_part_is_that_of_the_source(tmp_path: Path, processes: Engine) -> None:
    (tmp_path / "source").mkdir()
    spec = parquet_files(tmp_path / "source")
    damaged = tmp_path / "source" / "log-1.parquet"
    content = bytearray(damaged.read_bytes())
    content[100:400] = b"\0" * 300
    damaged.write_bytes(content)
    for name, engine in {"local": LocalEngine(), "processes": processes}.items():
        with pytest.raises(SourceError, match=r"log-1.parquet"):
            in_parts(spec, tmp_path / name, engine)
        assert not Lake(tmp_path / name).exists("events")


def test_paths_are_relative_to_the_folder_of_the_driver(
    tmp_path: Path, processes: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").mkdir()
    csv_files(tmp_path / "source")
    spec = csv_files(tmp_path / "source").model_copy(update={"data_dir": Path("source")})
    monkeypatch.chdir(tmp_path)
    done, lines, _ = in_parts(spec, Path("lake"), processes)
    assert done.n_read > N_ROWS
    assert sorted(lines.files) == [f"source/log-{number}.csv" for number in range(6)]
