"""Files that are none, or expand without bound: a clear error in little time and memory."""

import gzip
import os
import resource
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from chronotope.contracts.errors import ConfigError, SchemaError, SourceError
from chronotope.datasets.files import budget, parquet_stream
from chronotope.datasets.locations import source_folders
from chronotope.datasets.readers import read_events
from chronotope.datasets.spec import DatasetSpec
from chronotope.runtime.allowed_paths import ALLOWED_ROOTS
from tests.datasets.test_readers import ROWS, make_spec, read_all, write_parquet

HEAD = "who,what,when\n"


def csv_of(folder: Path, content: bytes, name: str = "log.csv", **more: object) -> DatasetSpec:
    (folder / name).write_bytes(content)
    return make_spec(folder, format="csv", path=name, **more)


def count_rows(spec: DatasetSpec) -> int:
    return sum(len(raw) for raw in read_events(spec))


@contextmanager
def growing_by_at_most(n_bytes: int) -> Iterator[None]:
    """Memory of this process at its largest grows by no more."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) * 1024 < n_bytes


@pytest.mark.parametrize("format", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("kind", "said"), [("pipe", "a named pipe"), ("device", "a device"), ("socket", "a socket")]
)
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, kind: str, said: str, format: str
) -> None:
    path = make_odd(tmp_path, kind)
    spec = make_spec(tmp_path, format=format, path=path.name)
    with pytest.raises(SourceError, match=f"it is {said}, no regular file"):
        next(read_events(spec))


def make_odd(folder: Path, kind: str) -> Path:
    path = folder / "log"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        code = "import socket; socket.socket(socket.AF_UNIX).bind('log')"
        subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)  # noqa: S603
    return path


@pytest.mark.parametrize("odd", ["pipe", "loop"])
def test_a_folder_with_something_odd_in_it_is_refused(tmp_path: Path, odd: str) -> None:
    write_parquet(tmp_path)
    if odd == "pipe":
        os.mkfifo(tmp_path / "z.parquet")
    else:
        (tmp_path / "z").symlink_to(tmp_path)
    with pytest.raises(SourceError, match=r"z(\.parquet)?'?.*no regular file|no regular file.*z"):
        count_rows(make_spec(tmp_path, format="parquet", path=""))


def test_a_folder_of_parquet_is_read_whole_but_for_what_is_hidden(tmp_path: Path) -> None:
    for name in ("a", "b/c", "_temporary/d", ".e"):
        (tmp_path / "log" / name).mkdir(parents=True)
        pq.write_table(pa.table(ROWS), tmp_path / "log" / name / "part.parquet")
    (tmp_path / "log" / "_SUCCESS").write_text("")
    assert count_rows(make_spec(tmp_path, format="parquet", path="log")) == 6
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no parquet files"):
        count_rows(make_spec(tmp_path, format="parquet", path="empty"))


def test_an_empty_csv_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no csv files"):
        count_rows(make_spec(tmp_path, format="csv", path=""))


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "FREE_BYTES", 32 << 20)
    rows = gzip.compress((HEAD + "u,i,1\n" * 200_000).encode())
    again = gzip.compress(b"u,i,1\n" * 5_000_000)  # members of gzip follow each other
    spec = csv_of(tmp_path, rows + again * 20, "log.csv.gz")
    with pytest.raises(SourceError, match="expands to more than"):
        count_rows(spec)


def test_what_expands_as_texts_do_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "FREE_BYTES", 1)
    rows = "".join(f"u{n * 7919 % 1_000},i{n % 77},{n}\n" for n in range(20_000))
    assert (
        count_rows(csv_of(tmp_path, gzip.compress((HEAD + rows).encode()), "log.csv.gz")) == 20_000
    )
    limits = {"max_bytes": 1_000}
    with pytest.raises(SourceError, match="expands to more than 1,000 bytes"):
        count_rows(make_spec(tmp_path, format="csv", path="log.csv.gz", limits=limits))


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_a_line_without_end_is_refused(tmp_path: Path, name: str) -> None:
    packer = zlib.compressobj(wbits=31)
    with (tmp_path / name).open("wb") as file:
        for chunk in (HEAD.encode() + b'u,"', *[b"x" * (1 << 20)] * 1_000):
            file.write(packer.compress(chunk) if name.endswith("gz") else chunk)
        file.write(packer.flush() if name.endswith("gz") else b"")
    spec = make_spec(tmp_path, format="csv", path=name)
    with growing_by_at_most(400 << 20), pytest.raises(SourceError, match="A row is longer than"):
        count_rows(spec)


def test_a_million_columns_are_refused(tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(1_000_000)]
    with growing_by_at_most(400 << 20):
        with pytest.raises(SchemaError, match="more than 10,000 columns"):
            count_rows(csv_of(tmp_path, ",".join([HEAD.strip(), *names]).encode() + b"\n"))
        table = pa.table(ROWS | {name: [1, 2, 3] for name in names[:20_000]})
        pq.write_table(table, tmp_path / "log.parquet")
        with pytest.raises(SchemaError, match=r"more than 10,000 columns.*20,003"):
            count_rows(make_spec(tmp_path, format="parquet", path="log.parquet"))


def repeated(text: str, n_rows: int) -> pa.Table:
    """Rows whose texts are one and the same: a few kilobytes on the disk."""
    who = pa.DictionaryArray.from_arrays(pa.array([0] * n_rows, pa.int32()), pa.array([text]))
    return pa.table({"who": who, "what": who, "when": pa.array([1] * n_rows)})


def test_a_parquet_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(repeated("x" * 60_000, 1_000_000), path)
    assert path.stat().st_size < 100_000
    spec = make_spec(tmp_path, format="parquet", path="log.parquet")
    with growing_by_at_most(900 << 20), pytest.raises(SourceError, match="expands to more than"):
        count_rows(spec)  # 120 GB of text


def test_long_texts_come_in_batches_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_stream, "MAX_BATCH_BYTES", 100_000)
    monkeypatch.setattr("chronotope.datasets.readers.MAX_BATCH_BYTES", 100_000)
    pq.write_table(repeated("x" * 1_000, 500), tmp_path / "log.parquet")
    batches = list(read_events(make_spec(tmp_path, format="parquet", path="log.parquet")))
    assert sum(map(len, batches)) == 500
    assert 20 < max(map(len, batches)) < 60


def test_a_page_that_claims_much_is_refused_by_the_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "FREE_BYTES", 1 << 20)
    zeros = pa.array([0] * 2_000_000)
    table = pa.table({"who": zeros, "what": zeros, "when": zeros})
    pq.write_table(table, tmp_path / "log.parquet", use_dictionary=False, compression="zstd")
    with pytest.raises(SourceError, match="expands to more than"):
        count_rows(make_spec(tmp_path, format="parquet", path="log.parquet"))


def test_a_footer_that_claims_more_than_the_file_is_refused(tmp_path: Path) -> None:
    spec = write_parquet(tmp_path)
    whole = (tmp_path / "log.parquet").read_bytes()
    for end in (b"\xff\xff\xff\x7fPAR1", b"\xff\xff\xff\xffPAR1", b"\0\0\0\0PAR1", b"\0\0\0\0PAR2"):
        (tmp_path / "log.parquet").write_bytes(whole[:-8] + end)
        with pytest.raises(SourceError, match="Cannot read"):
            count_rows(spec)


READ_DAMAGED = """
import sys
from pathlib import Path
from chronotope.contracts.errors import ChronotopeError
from chronotope.datasets.files.source_files import stream_file
from chronotope.datasets.table_spec import TableSpec
path, *damage = sys.argv[1:]
table = TableSpec(format="parquet", path=path, columns={"user_id": "who"})
whole = Path(path).read_bytes()
for of in damage:
    damaged = bytearray(whole)
    position, bit = map(int, of.split("."))
    damaged[-position] ^= 1 << bit
    Path(path).write_bytes(damaged)
    try:
        list(stream_file(table, Path(), batch_rows=10))
    except ChronotopeError as error:
        print(error)
"""


def test_damage_that_ends_arrows_process_does_not_end_ours(tmp_path: Path) -> None:
    write_parquet(tmp_path)
    damage = ["406.5", "582.5", "986.0", "1013.0"]  # bits of the footer that end Arrow's
    words = [sys.executable, "-c", READ_DAMAGED, str(tmp_path / "log.parquet"), *damage]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    assert "Cannot read" in done.stdout


def test_texts_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    who = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffb")])
    pq.write_table(pa.table(ROWS | {"who": who}), tmp_path / "log.parquet")
    with pytest.raises(SourceError, match="not text in the configured encoding"):
        count_rows(make_spec(tmp_path, format="parquet", path="log.parquet"))


def test_lists_are_refused_before_they_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table(ROWS | {"who": [["a"], ["b"], ["c"]]}), tmp_path / "log.parquet")
    with pytest.raises(SchemaError, match="'who' cannot be read as text"):
        count_rows(make_spec(tmp_path, format="parquet", path="log.parquet"))


@pytest.mark.parametrize("kind", [pa.large_string(), pa.binary(), pa.string_view()])
def test_texts_of_every_kind_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    rows = ROWS | {"who": pa.array(["a", "ü", None], pa.string()).cast(kind)}
    pq.write_table(pa.table(rows), tmp_path / "log.parquet")
    spec = make_spec(tmp_path, format="parquet", path="log.parquet")
    assert read_all(spec)["user_id"].to_pylist() == ["a", "ü"]


@pytest.mark.parametrize("encoding", ["zlib", "bz2", "hex", "rot13"])
def test_encodings_that_decompress_are_none(tmp_path: Path, encoding: str) -> None:
    spec = csv_of(tmp_path, zlib.compress(b"who,what,when\n"), encoding=encoding)
    with pytest.raises(SourceError, match="Set encoding"):
        count_rows(spec)


def test_a_package_is_looked_for_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shipped" / "inner").mkdir(parents=True)
    for folder in ("shipped", "shipped/inner"):
        (tmp_path / folder / "__init__.py").write_text("raise SystemExit('it was run')")
    (tmp_path / "shipped" / "inner" / "log.csv").write_text(HEAD + "1,a,10\n")
    (tmp_path / "secret.csv").write_text(HEAD + "1,a,10\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = make_spec(tmp_path, format="csv", package="shipped", path="inner/log.csv")
    assert count_rows(spec) == 1
    assert "shipped" not in sys.modules
    for name in ("shipped.inner", "../shipped", "", "a b", ".shipped"):
        with pytest.raises(ValidationError, match="package"):
            make_spec(tmp_path, format="csv", package=name, path="log.csv")
    for path in ("../secret.csv", str(tmp_path / "secret.csv"), "inner/../../secret.csv"):
        with pytest.raises(SourceError, match="leads out of its package"):
            count_rows(make_spec(tmp_path, format="csv", package="shipped", path=path))
    with pytest.raises(SourceError, match="not installed"):
        count_rows(make_spec(tmp_path, format="csv", package="__main__", path="log.csv"))


def test_files_of_a_yaml_lie_where_flows_may_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        csv_of(folder, f"{HEAD}1,a,10\n".encode())
    (outside / "log.db").write_bytes(b"")
    (inside / "link.csv").symlink_to(outside / "log.csv")
    (inside / "parts").mkdir()
    pq.write_table(pa.table(ROWS), outside / "log.parquet")
    (inside / "parts" / "link.parquet").symlink_to(outside / "log.parquet")
    monkeypatch.setenv(ALLOWED_ROOTS, str(inside))
    monkeypatch.setenv("OUTSIDE", str(outside))
    assert count_rows(make_spec(inside, format="csv", path="log.csv")) == 1
    columns: dict[str, object] = {"query": "SELECT 1", "url": f"sqlite:///{outside}/log.db"}
    for spec in (
        make_spec(outside, format="csv", path="log.csv"),
        make_spec(inside, format="csv", path="../outside/log.csv"),
        make_spec(inside, format="csv", path=str(outside / "log.csv")),
        make_spec(inside, format="csv", path="$OUTSIDE/log.csv"),
        make_spec(inside, format="csv", path="link.csv"),
        make_spec(inside, format="parquet", path="parts"),
        make_spec(inside, format="sql", **columns),
    ):
        with pytest.raises(ConfigError, match="outside the folders that flows may use"):
            count_rows(spec)


def test_the_folders_of_a_dataset_are_known(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    assert source_folders(make_spec(tmp_path, format="csv", path="log.csv")) == {tmp_path}
    parts = make_spec(tmp_path, format="parquet", path="parts")
    assert source_folders(parts) == {tmp_path / "parts"}
    database = make_spec(tmp_path, format="sql", url="sqlite:////data/a.db", query="SELECT 1")
    assert source_folders(database) == {Path("/data")}
    unknown = make_spec(tmp_path, format="sql", url="$NOT_SET_HERE", query="SELECT 1")
    assert source_folders(unknown) == set()
    for more in ({"path": "http://host/log.csv"}, {"path": "log.csv", "package": "shipped"}):
        assert source_folders(make_spec(tmp_path, format="csv", **more)) == set()
