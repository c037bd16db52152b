"""Write a network for a large catalogue: a graph that asks, and an index that ranks."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from chronotope.artifact.bundle import INDEX, MODEL, write_bundle
from chronotope.compression.build_index import IndexConfig, build_index
from chronotope.compression.export import example_inputs, export_module, nothing_told
from chronotope.compression.tables import narrow_tables
from chronotope.contracts.eventlog import Catalog, Float32
from chronotope.contracts.queries import Queries
from chronotope.models.batch import INPUT_NAMES, Batch, to_batch
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.models.split import Split, SplitNet, item_vectors

ASKED_AT_ONCE = 64


class _Graph(nn.Module):
    """A split network with its priors as buffers; the last input is the items' vectors."""

    def __init__(self, net: ChronotopeNet, priors: Priors) -> None:
        super().__init__()
        self.split = SplitNet(net)
        for name, table in priors._asdict().items():
            self.register_buffer(name, table)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs in the order of ``Split``."""
        *told, vectors = inputs
        priors = Priors(*(getattr(self, name) for name in Priors._fields))
        if len(told) < len(INPUT_NAMES):
            told.append(nothing_told(told[-1]))
        return tuple(self.split(Batch(*told), priors, vectors))


def export_indexed(
    net: ChronotopeNet,
    priors: Priors,
    catalog: Catalog,
    folder: Path,
    *,
    about: Mapping[str, object],
    sample: Queries,
    config: IndexConfig | None = None,
) -> None:
    """Write a bundle that ``IndexedRecommender`` opens.

    Args:
        net: The trained network; its items have no coordinates.
        priors: The state frozen into the graph, its tables in float16.
        catalog: Ids and titles.
        folder: An empty folder.
        about: Fields of the bundle's manifest except digests and ``history_len``.
        sample: Typical questions; codes are chosen for them.
        config: Sizes of the index.

    Raises:
        ConfigError: The items have coordinates.
    """
    split = SplitNet(net).eval()
    vectors = item_vectors(net, priors).detach().numpy()
    index = build_index(
        np.ascontiguousarray(vectors),
        group=catalog.item_category,
        queries=_asked(split, priors, sample),
        config=config,
    )
    index.save(folder / INDEX)
    inputs, names = example_inputs(net)
    width = 1 if net.backbone is None else net.config.d_model
    inputs = (*inputs, torch.zeros(2, net.config.history_len, width))
    with TemporaryDirectory() as scratch:
        exported = Path(scratch) / MODEL
        graph = _Graph(net, priors)
        export_module(graph, inputs, (*names, "vectors"), Split._fields, exported)
        narrow_tables(exported, folder / MODEL, "float16")
    write_bundle(folder, catalog, **{**about, "history_len": net.config.history_len})


def _asked(split: SplitNet, priors: Priors, sample: Queries) -> Float32:
    """What the network asks the index for, shape (Q, D)."""
    net, said = split.net, []
    vectors = item_vectors(net, priors)[:, -net.config.d_model :]
    for start in range(0, len(sample), ASKED_AT_ONCE):
        some = sample.take(slice(start, start + ASKED_AT_ONCE))
        batch = to_batch(some, net.config.history_len, net.config.context)
        with torch.no_grad():
            said.append(split(batch, priors, vectors[batch.item_idx]).query.numpy())
    return np.concatenate(said)
