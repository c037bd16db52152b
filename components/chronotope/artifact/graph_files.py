"""Files of an ONNX graph: one file, or beside it a second one with the tables.

A protocol buffer ends at two GiB. The tables of a larger graph are in ``model.onnx.data``, in the
format of ONNX's external data: the graph names file, offset and length of each table. Such a name
comes from a file, and could be that of any file of the machine: only this one is accepted.
"""

import mmap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import onnx
from onnx import TensorProto, external_data_helper

from chronotope.artifact.bundle import MODEL, MODEL_DATA
from chronotope.contracts.errors import ArtifactError
from chronotope.runtime.durable_files import sync_file
from chronotope.runtime.file_links import link_or_copy

MAX_INLINE_BYTES: Final = 2**31 - 2**20
"""Bytes of tables up to which a graph is one file: two GiB, less some space for the nodes."""

_MIN_EXTERNAL_BYTES: Final = 1024
"""Smaller tables stay in the graph, where shapes are inferred from them."""

_LOCATION_KEY: Final = b"location"


def save_graph(
    model: onnx.ModelProto, graph_path: Path, max_inline_bytes: int | None = None
) -> None:
    """Write a graph, and its tables to ``model.onnx.data`` in the same folder if it is large.

    Args:
        model: The graph; tables that were written to the second file are removed from it.
        graph_path: File of the graph.
        max_inline_bytes: Bytes of tables up to which it is one file; None: ``MAX_INLINE_BYTES``.

    Raises:
        OSError: The files cannot be written.
    """
    limit = MAX_INLINE_BYTES if max_inline_bytes is None else max_inline_bytes
    if _table_bytes(model) < limit:
        onnx.save(model, graph_path)
        return
    data_path = graph_path.parent / MODEL_DATA
    data_path.unlink(missing_ok=True)  # tables are appended; the file may be a link
    external_data_helper.convert_model_to_external_data(
        model, location=MODEL_DATA, size_threshold=_MIN_EXTERNAL_BYTES, convert_attribute=False
    )
    external_data_helper.write_external_data_tensors(model, str(graph_path.parent))
    sync_file(data_path)
    onnx.save(model, graph_path)


def load_graph(graph_path: Path) -> onnx.ModelProto:
    """Read a graph with its tables.

    Args:
        graph_path: File of the graph.

    Raises:
        ArtifactError: Its tables are in another file than ``model.onnx.data``.
    """
    require_own_tables(graph_path)
    return onnx.load(graph_path)


def copy_graph(source_path: Path, target_path: Path) -> None:
    """Link or copy a graph and, if it has one, the file of its tables.

    Args:
        source_path: File of the graph; it may not be written to afterwards.
        target_path: The link or copy, in another folder.
    """
    if has_own_file(source_path):
        link_or_copy(source_path.parent / MODEL_DATA, target_path.parent / MODEL_DATA)
    link_or_copy(source_path, target_path)


def has_own_file(graph_path: Path) -> bool:
    """Whether the tables of a graph are in a second file.

    Args:
        graph_path: File of the graph.
    """
    return any(True for _ in _external_tables(graph_path))


def require_own_tables(graph_path: Path) -> None:
    """Refuse a graph that names another file, or bytes that its file does not have.

    Args:
        graph_path: File of the graph.

    Raises:
        ArtifactError: It does.
    """
    data_path = graph_path.parent / MODEL_DATA
    n_bytes = data_path.stat().st_size if data_path.is_file() else 0
    for table in _external_tables(graph_path):
        entries = {entry.key: entry.value for entry in table.external_data}
        end = _whole_number(entries.get("offset", "0")) + _whole_number(entries.get("length", ""))
        if entries.get("location") != MODEL_DATA or data_path.is_symlink() or end > n_bytes:
            raise ArtifactError(
                "A graph has tables in a file that is not its own",
                received=f"{graph_path}: table {table.name!r} at {entries.get('location')!r}",
                way_out="Do not use the file; train again, or copy the bundle from its source",
            )


def append_tensors(graph: onnx.GraphProto, tensors: Iterable[TensorProto]) -> None:
    """Add tables to a graph; unlike ``extend``, this takes tables of more than two GiB.

    Args:
        graph: The graph.
        tensors: The tables.
    """
    for tensor in tensors:
        graph.initializer.add().CopyFrom(tensor)


@contextmanager
def session_content(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Context manager of what a session is opened from: bytes, or files that go with the block.

    A session maps the file of a large graph's tables, and keeps it when its name is gone.

    Args:
        model: The graph; see ``save_graph``.
    """
    if _table_bytes(model) < MAX_INLINE_BYTES:
        yield model.SerializeToString()
        return
    with TemporaryDirectory() as scratch:
        save_graph(model, Path(scratch) / MODEL)
        yield str(Path(scratch) / MODEL)


def _table_bytes(model: onnx.ModelProto) -> int:
    return sum(len(table.raw_data) for table in model.graph.initializer)


def _external_tables(graph_path: Path) -> list[TensorProto]:
    """Tables that are in other files; the graph is parsed only if it may have some."""
    with graph_path.open("rb") as file:
        if not graph_path.stat().st_size:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(_LOCATION_KEY) < 0:
                return []
    try:
        model = onnx.load(graph_path, load_external_data=False)
    except Exception as error:  # protocol buffers' errors have no common base class
        raise ArtifactError("A graph cannot be read", received=f"{graph_path}: {error}") from error
    tensors = external_data_helper._get_all_tensors(model)  # of attributes and functions, too
    return [tensor for tensor in tensors if external_data_helper.uses_external_data(tensor)]


def _whole_number(text: str) -> int:
    """A number of bytes; more than any file has where it is none."""
    return int(text) if text.isascii() and text.isdecimal() else 2**63
