"""Export of a network for a large catalogue: a query graph, and an index that ranks items."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from chronotope.artifact.item_index import ItemIndex
from chronotope.artifact.residuals import Residuals
from chronotope.compression.build_index import IndexConfig, build_index
from chronotope.compression.export import empty_context, example_inputs, export_module
from chronotope.compression.networks import DistillationQueries
from chronotope.contracts.event_log import Catalog, Float32
from chronotope.models.batch import INPUT_NAMES, Batch
from chronotope.models.factorized import FactorizedNet, FactorizedOutput, item_vectors
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors

BATCH_QUERIES = 64
N_SAMPLE_QUERIES = 2048
"""Queries whose score error the codes minimise."""


class _QueryGraph(nn.Module):
    """A factorized network with its priors as buffers; the last input is the items' vectors."""

    def __init__(self, net: ChronotopeNet, priors: Priors) -> None:
        super().__init__()
        self.factorized = FactorizedNet(net)
        for buffer_name, prior_table in priors._asdict().items():
            self.register_buffer(buffer_name, prior_table)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of ``FactorizedOutput``."""
        *batch_inputs, history_vectors = inputs
        priors = Priors(*(getattr(self, field_name) for field_name in Priors._fields))
        if len(batch_inputs) < len(INPUT_NAMES):
            batch_inputs.append(empty_context(batch_inputs[-1]))
        return tuple(self.factorized(Batch(*batch_inputs), priors, history_vectors))


def export_query_graph(net: ChronotopeNet, priors: Priors, onnx_path: Path) -> None:
    """Write the graph with which ``IndexedRecommender`` queries an index.

    Args:
        net: The trained network; its items have no coordinates.
        priors: The state frozen into the graph.
        onnx_path: The file to write.

    Raises:
        ConfigError: The items have coordinates.
    """
    query_graph = _QueryGraph(net, priors)
    batch_inputs, input_names = example_inputs(net)
    vector_width = 1 if net.backbone is None else net.config.d_model
    history_vectors = torch.zeros(2, net.config.history_len, vector_width)  # (B, H, D)
    export_module(
        query_graph,
        (*batch_inputs, history_vectors),
        (*input_names, "vectors"),
        FactorizedOutput._fields,
        onnx_path,
    )


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
    vectors = item_vectors(net, priors).detach()  # (n_items, D)
    embeddings = vectors[:, -net.config.d_model :]
    sample_queries = _sample_queries(factorized_net, embeddings, examples)
    vector_array = np.ascontiguousarray(vectors.numpy())
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
