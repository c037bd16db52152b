"""Compression by signature; cut archives and files of other formats are named."""

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronotope.contracts.errors import SourceError
from chronotope.datasets.readers import read_events
from tests.datasets.test_readers import ROWS, make_spec

TEXT = b"who,what,when\n" + b"".join(b"u%d,i%d,%d\n" % (n, n * n, n) for n in range(5_000))


def arrow_compressed(codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(TEXT)
    return sink.getvalue().to_pybytes()


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return buffer.getvalue()


ARCHIVES = {
    "gzip": gzip.compress(TEXT),
    "bz2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "zstd": arrow_compressed("zstd"),
    "lz4": arrow_compressed("lz4"),
    "zip": zipped("log.csv", "__MACOSX/._log.csv", ".DS_Store"),
}


def count_rows(folder: Path, content: bytes, name: str = "log.csv", format: str = "csv") -> int:
    (folder / name).write_bytes(content)
    return sum(len(raw) for raw in read_events(make_spec(folder, format=format, path=name)))


@pytest.mark.parametrize("name", ["log.csv", "log", "log.gz"])
@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_are_known_by_their_signatures(tmp_path: Path, kind: str, name: str) -> None:
    assert count_rows(tmp_path, ARCHIVES[kind], name) == 5_000


def test_several_members_of_gzip_follow_each_other(tmp_path: Path) -> None:
    assert count_rows(tmp_path, gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:])) == 5_000


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_cut_archive_is_refused(tmp_path: Path, kind: str) -> None:
    archive = ARCHIVES[kind]
    with pytest.raises(SourceError, match=f"The {kind} archive .* is cut short"):
        count_rows(tmp_path, archive[: len(archive) * 2 // 3])


def test_an_archive_of_several_files_names_them(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds 2 files.*a\.csv, b\.csv.*Unpack"):
        count_rows(tmp_path, zipped("a.csv", "b.csv"))


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(ROWS), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"<!DOCTYPE html>\n<html><body>Please, log in</body></html>", "log.csv", "an HTML page"),
        (b'\xef\xbb\xbf\n<?xml version="1.0"?><a/>', "log.csv", "an XML document"),
        (parquet(), "log.csv", "a Parquet file, not csv.*format: parquet"),
        (gzip.compress(parquet()), "log.csv.gz", "a Parquet file"),
        (zipped("[Content_Types].xml", "xl/a.xml"), "log.csv", "an Excel workbook"),
        (zipped("log.csv"), "book.xlsx", "an Excel workbook"),
        (b"%PDF-1.7\n%", "log.csv", "a PDF"),
        (b"SQLite format 3\x00" + bytes(84), "log.csv", "an SQLite database.*format: sql"),
        (b"\x89PNG\r\n\x1a\n", "log.csv", "a PNG image"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "log.csv", "an Excel workbook of the old kind"),
        (b'{"who": 1}\n', "log.csv", "JSON, not csv.*format: json"),
        (bytes(1_000), "log.csv", "zero bytes"),
    ],
)
def test_files_are_named_for_what_they_are(
    tmp_path: Path, content: bytes, name: str, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        count_rows(tmp_path, content, name)


@pytest.mark.parametrize(
    "head", [b"ORCHID,what,when,who", b"BZh,who,what,when", b"PAR1,who,what,when"]
)
def test_a_header_like_a_signature_is_a_header(tmp_path: Path, head: bytes) -> None:
    assert count_rows(tmp_path, head + b"\n1,2,3,4\n") == 1
