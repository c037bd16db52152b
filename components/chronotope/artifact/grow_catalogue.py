"""A bundle with further items, without a training: its tables get rows of items without events.

The weights stay as they are. A graph that was exported with the items from the start has the same
tables, apart from what depends on the mean over the catalogue.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import pyarrow as pa
from onnx import numpy_helper

from chronotope.artifact.bundle import (
    INDEX,
    MODEL,
    Manifest,
    Vocabulary,
    read_content_axes,
    read_manifest,
    read_vocabulary,
)
from chronotope.artifact.catalogue_tables import (
    Array,
    StoredTables,
    parse_tables,
    read_tables,
)
from chronotope.artifact.cold_rows import NewItems, cold_rows
from chronotope.artifact.onnx_recommender import OnnxRecommender, session_of
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_content import ContentAxes

_TRAIN_AGAIN: Final = "Train again: the next model knows the items"


@dataclass(frozen=True, slots=True)
class GrowableBundle:
    """An open bundle whose catalogue can be enlarged, several times from the same start.

    Attributes:
        manifest: Manifest of the bundle.
        vocabulary: Its ids.
        axes: Axes of its content; None without content.
        model: Its graph.
        stored: The graph's tables of items.
    """

    manifest: Manifest
    vocabulary: Vocabulary
    axes: ContentAxes | None
    model: onnx.ModelProto
    stored: StoredTables

    @classmethod
    def read(cls, bundle_dir: Path) -> "GrowableBundle":
        """Read a bundle.

        Args:
            bundle_dir: Its folder.

        Raises:
            ArtifactError: It is damaged, or cannot take new items, with the reason.
        """
        manifest = read_manifest(bundle_dir)
        if INDEX in manifest.digests:
            raise ArtifactError(
                "A catalogue that is ranked by an index takes no new items",
                received=bundle_dir.name,
                way_out=_TRAIN_AGAIN,
            )
        model = onnx.load(bundle_dir / MODEL)
        if not parse_tables(model):
            raise ArtifactError(
                "This bundle was exported before new items could be added to one",
                received=bundle_dir.name,
                way_out=_TRAIN_AGAIN,
            )
        return cls(
            manifest,
            read_vocabulary(bundle_dir),
            read_content_axes(bundle_dir),
            model,
            read_tables(model),
        )

    def with_items(
        self, new_items: NewItems, *, n_threads: int = 1
    ) -> tuple[OnnxRecommender, Vocabulary]:
        """Recommender and ids of the enlarged catalogue; the new items follow the known ones.

        Args:
            new_items: Items that the bundle does not know.
            n_threads: Threads of an inference.

        Raises:
            ArtifactError: A table has no rule for new items, or the graph does not run.
        """
        grown = grow_graph(
            self.model, self.stored, cold_rows(self.stored.by_source(), new_items, self.axes)
        )
        session = session_of(grown.SerializeToString(), self.manifest.name, n_threads=n_threads)
        return OnnxRecommender(session, self.manifest), self._grown_vocabulary(new_items)

    def _grown_vocabulary(self, new_items: NewItems) -> Vocabulary:
        known = self.vocabulary
        items = IdMap(
            pa.concat_arrays([known.items.ids, pa.array(new_items.item_ids, pa.string())])
        )
        are_places = len(known.items.ids) > 0 and known.items.ids.equals(known.places.ids)
        titles = [*known.titles, *new_items.titles]
        places = items if are_places else known.places
        return replace(known, items=items, places=places, titles=titles)


def grow_graph(
    model: onnx.ModelProto, stored: StoredTables, rows: Mapping[str, Array]
) -> onnx.ModelProto:
    """A graph whose tables have further rows.

    Args:
        model: A graph with its weights; it is not changed.
        stored: Its tables.
        rows: Rows by table, the growing axis first.
    """
    arrays = stored.with_rows(rows)
    grown = onnx.ModelProto()
    grown.CopyFrom(model)
    graph = grown.graph
    # a narrowed table is no longer computed, but stored as it is
    nodes = [node for node in graph.node if not arrays.keys() & set(node.output)]
    tensors = [tensor for tensor in graph.initializer if tensor.name not in arrays]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)
    graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()
    )
    _open_input_shapes(graph, arrays.keys())
    _forget_sizes(graph, {stored.n_rows(table) for table in stored.tables})
    return grown


def _forget_sizes(graph: onnx.GraphProto, sizes: Collection[int]) -> None:
    """Drop noted shapes of values with the sizes that the graph had before."""
    value_infos = [
        value_info
        for value_info in graph.value_info
        if not any(size.dim_value in sizes for size in value_info.type.tensor_type.shape.dim)
    ]
    del graph.value_info[:]
    graph.value_info.extend(value_infos)


def _open_input_shapes(graph: onnx.GraphProto, names: Collection[str]) -> None:
    """Forget the sizes of tables that a caller may replace: they have grown."""
    for graph_input in graph.input:
        if graph_input.name in names:
            for size in graph_input.type.tensor_type.shape.dim:
                size.Clear()
