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
from chronotope.artifact.graph_files import append_tensors, load_graph, session_content
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
        bundle_manifest = read_manifest(bundle_dir)
        if INDEX in bundle_manifest.digests:
            raise ArtifactError(
                "A catalogue that is ranked by an index takes no new items",
                received=bundle_dir.name,
                way_out=_TRAIN_AGAIN,
            )
        model = load_graph(bundle_dir / MODEL)
        if not parse_tables(model):
            raise ArtifactError(
                "This bundle was exported before new items could be added to one",
                received=bundle_dir.name,
                way_out=_TRAIN_AGAIN,
            )
        return cls(
            bundle_manifest,
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
        grown_model = grow_graph(
            self.model, self.stored, cold_rows(self.stored.by_source(), new_items, self.axes)
        )
        with session_content(grown_model) as graph_content:
            grown_session = session_of(graph_content, self.manifest.name, n_threads=n_threads)
        return OnnxRecommender(grown_session, self.manifest), self._grown_vocabulary(new_items)

    def _grown_vocabulary(self, new_items: NewItems) -> Vocabulary:
        known_vocabulary = self.vocabulary
        item_ids = IdMap(
            pa.concat_arrays(
                [known_vocabulary.items.ids, pa.array(new_items.item_ids, pa.string())]
            )
        )
        are_places = len(known_vocabulary.items.ids) > 0 and known_vocabulary.items.ids.equals(
            known_vocabulary.places.ids
        )
        item_titles = [*known_vocabulary.titles, *new_items.titles]
        place_ids = item_ids if are_places else known_vocabulary.places
        return replace(known_vocabulary, items=item_ids, places=place_ids, titles=item_titles)


def grow_graph(
    model: onnx.ModelProto, stored: StoredTables, rows: Mapping[str, Array]
) -> onnx.ModelProto:
    """A graph whose tables have further rows.

    Args:
        model: A graph with its weights; it is not changed.
        stored: Its tables.
        rows: Rows by table, the growing axis first.
    """
    grown_arrays = stored.with_rows(rows)
    grown_model = onnx.ModelProto()
    grown_model.CopyFrom(model)
    grown_graph = grown_model.graph
    # a narrowed table is no longer computed, but stored as it is
    other_nodes = [
        graph_node
        for graph_node in grown_graph.node
        if not grown_arrays.keys() & set(graph_node.output)
    ]
    other_tensors = [
        stored_tensor
        for stored_tensor in grown_graph.initializer
        if stored_tensor.name not in grown_arrays
    ]
    del grown_graph.node[:], grown_graph.initializer[:]
    grown_graph.node.extend(other_nodes)
    append_tensors(grown_graph, other_tensors)
    append_tensors(
        grown_graph,
        (
            numpy_helper.from_array(np.ascontiguousarray(grown_array), array_name)
            for array_name, grown_array in grown_arrays.items()
        ),
    )
    _open_input_shapes(grown_graph, grown_arrays.keys())
    _forget_sizes(grown_graph, {stored.n_rows(grown_table) for grown_table in stored.tables})
    return grown_model


def _forget_sizes(grown_graph: onnx.GraphProto, former_sizes: Collection[int]) -> None:
    """Drop noted shapes of values with the sizes that the graph had before."""
    value_infos = [
        value_info
        for value_info in grown_graph.value_info
        if not any(
            axis_size.dim_value in former_sizes
            for axis_size in value_info.type.tensor_type.shape.dim
        )
    ]
    del grown_graph.value_info[:]
    grown_graph.value_info.extend(value_infos)


def _open_input_shapes(grown_graph: onnx.GraphProto, table_names: Collection[str]) -> None:
    """Forget the sizes of tables that a caller may replace: they have grown."""
    for graph_input in grown_graph.input:
        if graph_input.name in table_names:
            for axis_size in graph_input.type.tensor_type.shape.dim:
                axis_size.Clear()
