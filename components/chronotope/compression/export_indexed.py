"""A network for a large catalogue: a graph that asks, and an index that ranks."""

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

ASKED_AT_ONCE = 64
N_ASKED = 2048
"""Questions that codes are chosen for."""


class _Graph(nn.Module):
    """A split network with its priors as buffers; the last input is the items' vectors."""

    def __init__(self, net: ChronotopeNet, priors: Priors) -> None:
        super().__init__()
        self.split = FactorizedNet(net)
        for name, table in priors._asdict().items():
            self.register_buffer(name, table)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of ``FactorizedOutput``."""
        *told, vectors = inputs
        priors = Priors(*(getattr(self, name) for name in Priors._fields))
        if len(told) < len(INPUT_NAMES):
            told.append(empty_context(told[-1]))
        return tuple(self.split(Batch(*told), priors, vectors))


def export_query_graph(net: ChronotopeNet, priors: Priors, path: Path) -> None:
    """Write the graph that ``IndexedRecommender`` asks an index by.

    Args:
        net: The trained network; its items have no coordinates.
        priors: The state frozen into the graph.
        path: The file to write.

    Raises:
        ConfigError: The items have coordinates.
    """
    graph = _Graph(net, priors)
    inputs, names = example_inputs(net)
    width = 1 if net.backbone is None else net.config.d_model
    inputs = (*inputs, torch.zeros(2, net.config.history_len, width))
    export_module(graph, inputs, (*names, "vectors"), FactorizedOutput._fields, path)


def index_items(
    net: ChronotopeNet,
    priors: Priors,
    catalog: Catalog,
    examples: DistillationQueries,
    config: IndexConfig | None = None,
) -> tuple[ItemIndex, Residuals]:
    """The index of a network's items, its codes chosen for what the network asks; and the rest.

    Args:
        net: The trained network; its items have no coordinates.
        priors: The state frozen into the graph.
        catalog: The catalogue it was built for.
        examples: Typical questions with the priors of their time; the first ``N_ASKED`` count.
        config: Sizes of the index.

    Raises:
        ConfigError: The items have coordinates.
    """
    split, told = FactorizedNet(net).eval(), item_vectors(net, priors).detach()
    asked = _asked(split, told[:, -net.config.d_model :], examples)
    vectors = np.ascontiguousarray(told.numpy())
    index = build_index(vectors, group=catalog.item_category, queries=asked, config=config)
    return index, Residuals.of(index, vectors)


def _asked(split: FactorizedNet, embedded: Tensor, examples: DistillationQueries) -> Float32:
    """What the network asks the index for, shape (Q, D)."""
    said: list[Tensor] = []
    for whole, priors in examples:
        for start in range(0, len(whole.request_s), ASKED_AT_ONCE):
            batch = Batch(*(part[start : start + ASKED_AT_ONCE] for part in whole))
            with torch.no_grad():
                said.append(split(batch, priors, embedded[batch.item_idx]).query)
        if sum(map(len, said)) >= N_ASKED:
            break
    return torch.cat(said)[:N_ASKED].numpy()
