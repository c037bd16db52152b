"""ONNX export of a network and its priors as one graph, from raw history to scores.

The graph is traced once per architecture (``graph_template``) and kept in a cache; weights and
priors are bound to it (``bind_weights``). Histories may have any length up to ``history_len``;
the graph's metadata names the lengths to which they are padded.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

import onnx
from torch import Tensor, nn

from chronotope import models
from chronotope.artifact.catalogue_tables import GROWING_AXES, CatalogueTable
from chronotope.artifact.graph_files import save_graph
from chronotope.artifact.history_padding import HISTORY_LENGTHS, format_lengths
from chronotope.artifact.onnx_recommender import ACTIVITY
from chronotope.compression.bind_weights import bind_weights
from chronotope.compression.graph_inputs import batches, input_specs
from chronotope.compression.tracing import graph_template
from chronotope.compression.tracing.graph_template import (
    Axis,
    GraphSpec,
    HistoryLengths,
    TensorSpec,
    trace_template,
)
from chronotope.models.cold_users.user_head import read_attributes
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.runtime.file_cache import ContentCache, FileCache, MemoryCache
from chronotope.runtime.store_urls import named_cache_dir

OUTPUT_NAMES = ("item_scores", "when", "place_scores")

MIN_RECENT: Final = 16
"""Shortest history that a graph of open length reads: shorter ones are hardly faster."""

_VERSIONED: Final = ("torch", "onnx", "onnxscript", "onnxruntime")

_OPEN_AXES: Final[dict[str, tuple[Axis | None, ...]]] = {
    "popularity": ("items",),
    "popularity_week": ("items",),
    "by_hour": (None, "items"),
    "next_item": ("items", "successors"),
    "next_item_log": ("items", "successors"),
    "next_category": ("categories", "categories"),
    "category_by_hour": (None, "categories"),
    "neighbour": ("items", "neighbours"),
    "neighbour_weight": ("items", "neighbours"),
    "place_popularity": ("places",),
    "activity": (None, "items"),
    "affinity_item": ("items", "affine_items"),
    "affinity_weight": ("items", "affine_items"),
    "stickiness": ("items",),
    "content_popularity": ("items",),
    "cold_share": ("items",),
    "context_lift": ("items", None),
    "content_head.vectors": ("items", None),
    "user_head.start": ("items",),
    "user_head.item_factors": ("items", None),
    "user_head.level_factors": ("levels", None),
    "user_head.place_factors": ("places", None),
    "item_tables.category": ("items",),
    "item_tables.cell": ("items",),
    "item_tables.east_km": ("items",),
    "item_tables.north_km": ("items",),
    "item_tables.located": ("items",),
    "item_tables.cell_rows": ("cells", None),
    "item_embedding.weight": ("items", None),
    "category_embedding.weight": ("categories", None),
    "last_category_embedding.weight": ("categories", None),
    "repeat_head.mix_kernels.weight": ("repeat_units", None),
    "repeat_head.mix_kernels.bias": ("repeat_units",),
    "repeat_head.mix_context.weight": ("repeat_units", None),
    "repeat_head.mix_context.bias": ("repeat_units",),
    "repeat_head.mix_features.weight": ("repeat_units", None),
    "repeat_head.mix_features.bias": ("repeat_units",),
    "repeat_head.mix_out.weight": (None, "repeat_units"),
    "gate.0.weight": ("gate_units", None),
    "gate.0.bias": ("gate_units",),
    "gate.2.weight": (None, "gate_units"),
}
"""Open sizes of weights, by the ends of their names; None: fixed. Pruning sets some of them."""

_SIZES: Final = {"n_categories", "n_places", "num_embeddings", "in_features", "out_features"}
"""Attributes of modules that repeat sizes of their weights; the graph reads the weights' alone."""

_DROPOUT: Final = "p"
"""Attribute of ``nn.Dropout``, which an exported network does not apply."""

_UNREAD_SETTINGS: Final = {
    "history_len",
    "n_hidden",
    "dropout",
    "content",
    "modalities",
    "item_context",
    "repeat_kernels",
}
"""Settings that a graph does not read: they are sizes, or seen in the modules of the network."""

_BACKBONE_SETTINGS: Final = {"n_layers", "backbone_len", "d_model"}
"""Settings that a network without a backbone does not read."""

_process_cache: Final = MemoryCache()


class NetworkGraph(nn.Module):
    """A network with its priors as buffers; base of the modules that are exported."""

    def __init__(self, priors: Priors) -> None:
        """Register the priors under their own names."""
        super().__init__()
        for buffer_name, prior_table in priors._asdict().items():
            self.register_buffer(buffer_name, prior_table)

    def priors(self) -> Priors:
        """The priors that are bound at the moment."""
        return Priors(*(getattr(self, field_name) for field_name in Priors._fields))


class _ScoringGraph(NetworkGraph):
    """Module from the inputs of a graph to the outputs of the network."""

    def __init__(self, net: ChronotopeNet, priors: Priors) -> None:
        super().__init__(priors)
        self.net = net

    def forward(self, **inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs in the order of ``OUTPUT_NAMES``."""
        batch, recent = batches(inputs)
        output = self.net(batch, self.priors(), recent=recent)
        return output.item_scores, output.when, output.place_scores


def export_onnx(
    net: ChronotopeNet, priors: Priors, onnx_path: Path, cache: ContentCache | None = None
) -> None:
    """Export with a dynamic batch and histories of any length.

    Args:
        net: The trained network.
        priors: The state frozen into the graph.
        onnx_path: The file to write.
        cache: Cache of traced graphs; by default that of ``default_cache``.
    """
    export_module(scoring_graph(net, priors), net.config, onnx_path, cache)


def scoring_graph(net: ChronotopeNet, priors: Priors) -> GraphSpec:
    """Graph of a network that scores its whole catalogue.

    Args:
        net: The network.
        priors: The state frozen into the graph.
    """
    module = _ScoringGraph(net, priors)
    head = net.item_context_head
    n_item_columns = 0 if head is None else head.n_columns
    inputs = input_specs(net.config, read_attributes(net.user_head), n_item_columns)
    return graph_spec(module, net.config, inputs, OUTPUT_NAMES)


def graph_spec(
    module: nn.Module,
    config: ModelConfig,
    inputs: tuple[TensorSpec, ...],
    output_names: tuple[str, ...],
) -> GraphSpec:
    """Graph of a module that reads histories.

    Args:
        module: The module, called with its inputs by name (see ``batches``).
        config: Configuration of its network.
        inputs: Inputs of the graph.
        output_names: One name an output.
    """
    weights = _weight_specs(_weights(module))
    return GraphSpec(module.eval(), inputs, output_names, weights, history_lengths(config))


def export_module(
    spec: GraphSpec, config: ModelConfig, onnx_path: Path, cache: ContentCache | None = None
) -> None:
    """Export a module that reads histories.

    Args:
        spec: The module, its inputs and outputs.
        config: Configuration of its network.
        onnx_path: The file to write.
        cache: Cache of traced graphs; by default that of ``default_cache``.
    """
    weights = _weights(spec.module)
    content = traced_template(spec, cache or default_cache())
    lengths = padded_lengths(spec.history, config.history_len)
    model = bind_weights(
        onnx.ModelProto.FromString(content),
        {name: tensor.detach().numpy() for name, tensor in weights.items()},
        {HISTORY_LENGTHS: format_lengths(lengths)},
        replaceable=(ACTIVITY,),
        catalogue_tables=_catalogue_tables(spec.weights),
    )
    save_graph(model, onnx_path)


def traced_template(spec: GraphSpec, cache: ContentCache) -> bytes:
    """Serialised template of a graph, traced where the cache has none.

    Args:
        spec: The module, its inputs and outputs.
        cache: Cache of traced graphs.
    """
    return cache.get_or_make(template_key(spec), lambda: trace_template(spec).SerializeToString())


def default_cache() -> ContentCache:
    """Cache below the folder that the environment names, else in the memory of this process."""
    folder = named_cache_dir()
    return _process_cache if folder is None else template_cache(folder)


def template_cache(cache_dir: Path) -> FileCache:
    """Cache of traced graphs below the folder of all caches."""
    return FileCache(cache_dir / "graphs")


def template_key(spec: GraphSpec) -> str:
    """Digest of all that shapes a traced graph: code, versions, structure, sizes that are fixed.

    Args:
        spec: What is traced.
    """
    content = {
        "code": _code_digest(),
        "versions": {name: version(name) for name in _VERSIONED},
        "structure": {name: _structure(part) for name, part in spec.module.named_modules()},
        "inputs": [_tensor_description(graph_input) for graph_input in spec.inputs],
        "weights": [_tensor_description(weight) for weight in spec.weights],
        "outputs": spec.output_names,
        "history": [spec.history.min_recent, spec.history.max_recent, spec.history.has_older],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def history_lengths(config: ModelConfig) -> HistoryLengths:
    """Lengths of histories that the graph of a network reads.

    The graph does not depend on ``history_len`` where the network has one length of history
    alone. It has a fixed length where the backbone reads more events than the kernels.
    """
    has_older = config.history_len > config.kernel_len
    window_len = 0 if config.backbone == "none" else config.backbone_len
    if window_len > config.kernel_len:
        if has_older:
            return HistoryLengths(config.history_len, config.history_len, has_older=False)
        window_len = 0  # no history is as long
    min_recent = max(MIN_RECENT, window_len)
    is_open = min_recent < config.kernel_len - 1
    return HistoryLengths(
        min_recent if is_open else config.kernel_len, config.kernel_len, has_older
    )


def padded_lengths(history: HistoryLengths, history_len: int) -> tuple[int, ...]:
    """Lengths to which histories are padded: powers of two times the smallest, and the full one.

    Args:
        history: Lengths that the graph reads.
        history_len: Events of a history that the network reads.
    """
    lengths = [history.min_recent]
    while 2 * lengths[-1] < history_len:
        lengths.append(2 * lengths[-1])
    return tuple(lengths) if lengths[-1] >= history_len else (*lengths, history_len)


def _weights(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a module by name; those that not every graph reads come last."""
    weights = dict(module.named_parameters()) | dict(module.named_buffers())
    # an open size is taken from an early weight, which then stays in the graph
    ordered_names = sorted(weights, key=lambda name: name.startswith(("activity", "affinity")))
    return {name: weights[name] for name in ordered_names}


def _weight_specs(weights: Mapping[str, Tensor]) -> tuple[TensorSpec, ...]:
    """Weights with some of their sizes left open."""
    return tuple(
        TensorSpec(name, tensor.dtype, _weight_axes(name, tensor))
        for name, tensor in weights.items()
    )


def _catalogue_tables(weights: tuple[TensorSpec, ...]) -> list[CatalogueTable]:
    """Weights that a new item enlarges."""
    return [
        CatalogueTable(weight.name, weight.name.removeprefix("net."), str(size_name), axis)
        for weight in weights
        for axis, size_name in enumerate(weight.axes)
        if size_name in GROWING_AXES
    ]


def _weight_axes(name: str, tensor: Tensor) -> tuple[Axis, ...]:
    for table_name, open_axes in _OPEN_AXES.items():
        if name == table_name or name.endswith(f".{table_name}"):
            axes = zip(tensor.shape, open_axes, strict=True)
            return tuple(size if axis is None else axis for size, axis in axes)
    return tuple(tensor.shape)


def _structure(module: nn.Module) -> list[object]:
    """Class and plain attributes of a module, without sizes."""
    attributes = {
        name: _plain(value)
        for name, value in vars(module).items()
        if not name.startswith("_") and name not in _SIZES | {_DROPOUT}
    }
    return [type(module).__qualname__, {name: repr(value) for name, value in attributes.items()}]


def _plain(attribute: object) -> object:
    """An attribute as text that is the same in each process; of other objects their class."""
    if isinstance(attribute, ModelConfig):
        unread = _BACKBONE_SETTINGS if attribute.backbone == "none" else set()
        settings = attribute.model_dump(exclude=_UNREAD_SETTINGS | unread)
        return {**settings, "scores_repeats": attribute.scores_repeats}
    is_plain = isinstance(attribute, bool | int | float | str | tuple | None)
    return attribute if is_plain else type(attribute).__qualname__


def _tensor_description(spec: TensorSpec) -> list[object]:
    return [spec.name, str(spec.dtype), spec.axes]


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Digest of the source of the networks and of the export."""
    tracing_files = Path(graph_template.__file__).parent.glob("*.py")
    export_files = Path(__file__).parent.glob("export*.py")
    model_files = Path(models.__file__).parent.rglob("*.py")
    content_digest = hashlib.sha256()
    for source_path in sorted([*model_files, *export_files, *tracing_files]):
        content_digest.update(source_path.name.encode() + source_path.read_bytes())
    return content_digest.hexdigest()
