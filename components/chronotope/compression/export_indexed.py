"""Export of a network for a large catalogue: a query graph, and an index that ranks items."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from chronotope.artifact.item_index import ItemIndex
from chronotope.artifact.residuals import Residuals
from chronotope.compression.build_index import IndexConfig, build_index
from chronotope.compression.export import NetworkGraph, export_module, graph_spec
from chronotope.compression.graph_inputs import batches, input_specs
from chronotope.compression.networks import DistillationQueries
from chronotope.compression.tracing.graph_template import BATCH, HISTORY, GraphSpec, TensorSpec
from chronotope.contracts.event_log import Catalog, Float32
from chronotope.models.batch import Batch
from chronotope.models.factorized import FactorizedNet, FactorizedOutput, item_vectors
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.runtime.file_cache import ContentCache

BATCH_QUERIES = 64
N_SAMPLE_QUERIES = 2048
"""Queries whose score error the codes minimise."""


class _QueryGraph(NetworkGraph):
    """A factorized network as a module; one more input holds the vectors of the items."""

    def __init__(self, net: ChronotopeNet, priors: Priors) -> None:
        super().__init__(priors)
        self.factorized = FactorizedNet(net)

    def forward(self, vectors: tuple[Tensor, Tensor], **inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of ``FactorizedOutput``."""
        batch, recent = batches(inputs)
        return tuple(self.factorized(batch, self.priors(), vectors[0], recent))


def export_query_graph(
    net: ChronotopeNet, priors: Priors, onnx_path: Path, cache: ContentCache | None = None
) -> None:
    """Write the graph with which ``IndexedRecommender`` queries an index.

    Args:
        net: The trained network; its items have no coordinates.
        priors: The state frozen into the graph.
        onnx_path: The file to write.
        cache: As of ``export_onnx``.

    Raises:
        ConfigError: The items have coordinates.
    """
    export_module(query_graph(net, priors), net.config, onnx_path, cache)


def query_graph(net: ChronotopeNet, priors: Priors) -> GraphSpec:
    """Graph with which ``IndexedRecommender`` queries an index.

    Args:
        net: The network; its items have no coordinates.
        priors: The state frozen into the graph.

    Raises:
        ConfigError: The items have coordinates.
    """
    vector_width = 1 if net.backbone is None else net.config.d_model
    row_vectors = TensorSpec("vectors", torch.float32, (BATCH, HISTORY, vector_width))
    inputs = (*input_specs(net.config), row_vectors)
    return graph_spec(_QueryGraph(net, priors), net.config, inputs, FactorizedOutput._fields)


def index_items(
    net: ChronotopeNet,
    priors: Priors,
    catalog: Catalog,
    examples: DistillationQueries,
    config: IndexConfig | None = None,
) -> tuple[ItemIndex, Residuals]:
    """The index of a network's items, trained on the network's own queries, and its residuals.

    Args:
        net: The trained network; its items have no coordinates.
        priors: The state frozen into the graph.
        catalog: The catalogue it was built for.
        examples: Typical queries with the priors of their time; ``N_SAMPLE_QUERIES`` are read.
        config: Sizes of the index.

    Raises:
        ConfigError: The items have coordinates.
    """
    factorized_net = FactorizedNet(net).eval()
    row_vectors = item_vectors(net, priors).detach()  # (n_items, D)
    embeddings = row_vectors[:, -net.config.d_model :]
    sample_queries = _sample_queries(factorized_net, embeddings, examples)
    vector_array = np.ascontiguousarray(row_vectors.numpy())
    index = build_index(
        vector_array,
        item_groups=catalog.item_category,
        sample_queries=sample_queries,
        config=config,
    )
    return index, Residuals.from_vectors(index, vector_array)


def _sample_queries(
    factorized_net: FactorizedNet, embeddings: Tensor, examples: DistillationQueries
) -> Float32:
    """Query vectors of the network, shape (Q, D)."""
    query_vectors: list[Tensor] = []
    for example_batch, priors in examples:
        for start in range(0, len(example_batch.request_s), BATCH_QUERIES):
            batch = Batch(*(tensor[start : start + BATCH_QUERIES] for tensor in example_batch))
            with torch.no_grad():
                history_vectors = embeddings[batch.item_idx]  # (B, H, D)
                query_vectors.append(factorized_net(batch, priors, history_vectors).query)
        if sum(map(len, query_vectors)) >= N_SAMPLE_QUERIES:
            break
    return torch.cat(query_vectors)[:N_SAMPLE_QUERIES].numpy()
