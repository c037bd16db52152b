"""ONNX graph of a module without its weights, traced once for all weights of an architecture.

Every parameter, buffer and prior is an *input* of the traced graph, so that no optimiser can fold
what depends on one of them; ``bind_weights`` makes these inputs initializers. Sizes of the
catalogue and lengths of histories are open: one template serves a catalogue that grows.

A module may read the latest events apart from the full history. The tracer cannot reason about
the smaller of two lengths, so latest and older events are traced as inputs of independent lengths;
the finished graph cuts one history into both.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from chronotope.compression.tracing.convert_program import convert_program
from chronotope.runtime.garbage import collect_afterwards

if TYPE_CHECKING:
    from onnxscript import ir
    from onnxscript.rewriter import RewriteRule

BATCH: Final = "batch"
HISTORY: Final = "history"
RECENT: Final = "recent"
OLDER: Final = "older"

Axis = int | str
"""Fixed size, or name of an open one."""

MAX_BATCH: Final = 65_536
MAX_OLDER: Final = 8_192
MAX_TABLE_ROWS: Final = 2**31 - 1
_SHAPING: Final = ("Slice", "Range", "Expand", "Reshape", "Pad", "Concat", "ConstantOfShape")
"""Operators whose results may have shapes that depend on values."""

_N_REWRITES: Final = 2
"""Passes of constant folding and rewriting, as many as the exporter makes."""

_FIRST_EXAMPLE_SIZE: Final = 211
"""Open sizes of the traced examples: all different, so that the tracer takes none for another."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, type and axes of an input or of a weight."""

    name: str
    dtype: torch.dtype
    axes: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class HistoryLengths:
    """Lengths of histories that a graph reads, in events.

    Attributes:
        min_recent, max_recent: Bounds of the number of latest events; equal if it is fixed.
        has_older: Whether the graph reads a full history of any length, too.
    """

    min_recent: int
    max_recent: int
    has_older: bool

    @property
    def is_fixed(self) -> bool:
        """Whether histories have one length."""
        return self.min_recent == self.max_recent and not self.has_older


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """What is traced: a module, its inputs and outputs, and the axes of its weights.

    Attributes:
        module: The module; called with its inputs by name, those with the axis ``HISTORY`` as a
            pair (full history, latest events).
        inputs: Inputs of the graph.
        output_names: Names of the outputs.
        weights: Parameters and buffers; the others are fixed by the module's class.
        history: Lengths of histories.
    """

    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    output_names: tuple[str, ...]
    weights: tuple[TensorSpec, ...]
    history: HistoryLengths


def trace_template(spec: GraphSpec) -> onnx.ModelProto:
    """Trace a module; its weights are inputs of the graph, named like its parameters.

    Args:
        spec: The module, its inputs and outputs.
    """
    traced_inputs = [part for graph_input in spec.inputs for part in _parts(graph_input, spec)]
    arguments = (*spec.weights, *traced_inputs)
    open_sizes = _OpenSizes(spec.history)
    with warnings.catch_warnings(), _quiet_exporter(), _each_shape_once(), collect_afterwards():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            _TracedModule(spec),
            tuple(open_sizes.example(argument) for argument in arguments),
            dynamic_shapes=(tuple(open_sizes.dims(argument) for argument in arguments),),
            strict=False,
        )
        argument_names = [argument.name for argument in arguments]
        onnx_program = convert_program(program, argument_names, spec.output_names)
        _optimize(onnx_program.model)
        template = onnx_program.model_proto
    if spec.history.has_older:
        _join_histories(template.graph, spec)
    _strip_metadata(template)
    _keep_open_shapes(template.graph)
    return template


class _TracedModule(nn.Module):
    """A module as a function of its weights and of the parts of its inputs."""

    _spec: GraphSpec

    def __init__(self, spec: GraphSpec) -> None:
        super().__init__()
        # not as a submodule: its own weights would become part of the graph
        object.__setattr__(self, "_spec", spec)
        self.eval()

    def forward(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        spec = self._spec
        n_weights = len(spec.weights)
        weights = {
            weight.name: argument
            for weight, argument in zip(spec.weights, arguments[:n_weights], strict=True)
        }
        parts = iter(arguments[n_weights:])
        inputs = {
            graph_input.name: _whole_and_recent(graph_input, parts, spec.history)
            for graph_input in spec.inputs
        }
        outputs: tuple[Tensor, ...] = torch.func.functional_call(
            spec.module, weights, kwargs=inputs
        )
        return outputs


def _whole_and_recent(
    graph_input: TensorSpec, parts: Iterator[Tensor], history: HistoryLengths
) -> Tensor | tuple[Tensor, Tensor]:
    """An input as the module reads it: a history also cut to its latest events."""
    recent = next(parts)
    if HISTORY not in graph_input.axes:
        return recent
    return (torch.cat([next(parts), recent], dim=1) if history.has_older else recent), recent


def _parts(graph_input: TensorSpec, spec: GraphSpec) -> Iterator[TensorSpec]:
    """The tensors that are traced for an input: of a history its latest and its older events."""
    if HISTORY not in graph_input.axes:
        yield graph_input
        return
    batch_axis, _, *other_axes = graph_input.axes
    if not spec.history.has_older:
        yield TensorSpec(graph_input.name, graph_input.dtype, (batch_axis, RECENT, *other_axes))
        return
    for part in (RECENT, OLDER):
        axes = (batch_axis, part, *other_axes)
        yield TensorSpec(_part_name(graph_input.name, part), graph_input.dtype, axes)


def _part_name(input_name: str, part: str) -> str:
    return f"{input_name}.{part}"


class _OpenSizes:
    """Open sizes of one trace, by the names of their axes."""

    def __init__(self, history: HistoryLengths) -> None:
        self.history = history
        self.dim_by_axis: dict[str, object] = {}
        self.example_size_by_axis: dict[str, int] = {}

    def example(self, spec: TensorSpec) -> Tensor:
        """A tensor of a spec with example sizes."""
        return torch.zeros([self._example_size(axis) for axis in spec.axes], dtype=spec.dtype)

    def dims(self, spec: TensorSpec) -> dict[int, object]:
        """The open axes of a spec for ``torch.export``."""
        dims = {number: self._dim(axis) for number, axis in enumerate(spec.axes)}
        return {number: dim for number, dim in dims.items() if dim is not None}

    def _example_size(self, axis: Axis) -> int:
        if isinstance(axis, int):
            return axis
        if axis == RECENT:
            return (self.history.min_recent + self.history.max_recent) // 2
        next_size = _FIRST_EXAMPLE_SIZE + 2 * len(self.example_size_by_axis)
        return self.example_size_by_axis.setdefault(axis, next_size)

    def _dim(self, axis: Axis) -> object | None:
        user_history = self.history
        if isinstance(axis, int) or (
            axis == RECENT and user_history.min_recent == user_history.max_recent
        ):
            return None
        min_size, max_size = {
            BATCH: (1, MAX_BATCH),
            # one above the minimum: cutting a history to its own length is a special case of the
            # tracer's, though not of the graph's
            RECENT: (user_history.min_recent + 1, user_history.max_recent),
            OLDER: (0, MAX_OLDER),
        }.get(axis, (1, MAX_TABLE_ROWS))
        return self.dim_by_axis.setdefault(axis, torch.export.Dim(axis, min=min_size, max=max_size))


def _optimize(model: "ir.Model") -> None:
    """Fold constants and remove redundant nodes, in place, as the exporter would."""
    # Half a second to import, which binding a kept graph does not need
    from onnxscript import ir
    from onnxscript.optimizer import fold_constants_ir
    from onnxscript.rewriter import rewrite

    graph_passes = ir.passes.common
    graph_passes.InlinePass()(model)
    for _ in range(_N_REWRITES):
        fold_constants_ir(model, onnx_shape_inference=True)
        rewrite(model, _rewrite_rules())
    for graph_pass in (
        graph_passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        graph_passes.DeduplicateInitializersPass(),
        graph_passes.CommonSubexpressionEliminationPass(),
        graph_passes.OutputFixPass(),
        graph_passes.NameFixPass(),
    ):
        graph_pass(model)


def _rewrite_rules() -> "tuple[RewriteRule, ...]":
    """The exporter's rules, without those of convolutions and clipping.

    ``slice_split_rule`` is left out, too: it compares all pairs of nodes, which takes three
    seconds a graph, and never applies.
    """
    from onnxscript.rewriter.rules import common as rules

    return (
        *rules.mul_by_1_rule.commute(),
        *rules.add_0_rule.commute(),
        rules.sub_0_rule,
        rules.div_by_1_rule,
        rules.dropout_inference_rule,
        rules.two_reshapes_matmul_reshape_rule,
        rules.one_reshape_matmul_reshape_rule,
        rules.cast_constant_of_shape_rule,
        rules.cast_constant_of_shape_without_value_rule,
        rules.collapse_slice_rule,
        rules.collapse_slice2_rule,
        rules.materialize_reshape_shape_rule,
        rules.cast_cast_rule,
        rules.no_op_cast_rule,
        rules.no_op_expand_rule,
        rules.flatten_to_reshape_rule,
        rules.reshape_reshape_rule,
        rules.no_op_transpose_rule,
        rules.transpose_transpose_rule,
        rules.unsqueeze_unsqueeze_rule,
        rules.squeeze_reshape_1d_rule,
        rules.no_op_dynamic_scatter_nd_rule,
        rules.no_op_static_scatter_nd_rule,
    )


def _join_histories(graph: onnx.GraphProto, spec: GraphSpec) -> None:
    """Make latest and older events two cuts of one input, and their concatenation that input."""
    cut_nodes: list[onnx.NodeProto] = []
    bounds = {
        "first": 0,
        "cut": -spec.history.max_recent,
        "last": np.iinfo(np.int64).max,
        "axis": 1,
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.array([bound], np.int64), f"{HISTORY}.{bound_name}")
        for bound_name, bound in bounds.items()
    )
    first, cut, last, axis = (f"{HISTORY}.{bound_name}" for bound_name in bounds)
    for graph_input in spec.inputs:
        if HISTORY not in graph_input.axes:
            continue
        recent, older = (_part_name(graph_input.name, part) for part in (RECENT, OLDER))
        joined = [node for node in graph.node if list(node.input) == [older, recent]]
        renamed = {node.output[0]: graph_input.name for node in joined if node.op_type == "Concat"}
        _rename_inputs(graph, renamed)
        cut_nodes.append(helper.make_node("Slice", [graph_input.name, cut, last, axis], [recent]))
        cut_nodes.append(helper.make_node("Slice", [graph_input.name, first, cut, axis], [older]))
        _replace_inputs(graph, (recent, older), graph_input)
    unread = _unread_outputs([*cut_nodes, *graph.node], graph)
    nodes = [node for node in (*cut_nodes, *graph.node) if node.output[0] not in unread]
    del graph.node[:]
    graph.node.extend(nodes)


def _rename_inputs(graph: onnx.GraphProto, new_names: Mapping[str, str]) -> None:
    for node in graph.node:
        for input_idx, input_name in enumerate(node.input):
            node.input[input_idx] = new_names.get(input_name, input_name)


def _replace_inputs(
    graph: onnx.GraphProto, part_names: tuple[str, str], joined: TensorSpec
) -> None:
    """Put one input in the place of its parts, which are values of the graph from then on."""
    parts = [graph_input for graph_input in graph.input if graph_input.name in part_names]
    element_type = parts[0].type.tensor_type.elem_type
    joined_input = helper.make_tensor_value_info(joined.name, element_type, list(joined.axes))
    inputs = [graph_input for graph_input in graph.input if graph_input.name not in part_names]
    graph.value_info.extend(parts)
    del graph.input[:]
    graph.input.extend([*inputs, joined_input])


def _unread_outputs(nodes: Sequence[onnx.NodeProto], graph: onnx.GraphProto) -> set[str]:
    """First outputs of nodes with one output that nothing reads."""
    read_names = {name for node in nodes for name in node.input}
    read_names |= {graph_output.name for graph_output in graph.output}
    return {
        node.output[0]
        for node in nodes
        if len(node.output) == 1 and node.output[0] not in read_names
    }


def _strip_metadata(model: onnx.ModelProto) -> None:
    """Remove the exporter's debug notes: the Python source of each node."""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:]
    for graph_part in (*graph.node, *graph.initializer, *graph.input, *graph.value_info):
        graph_part.doc_string = ""
        del graph_part.metadata_props[:]


def _keep_open_shapes(graph: onnx.GraphProto) -> None:
    """Drop the shapes that ONNX Runtime infers; with the others it shares memory among values."""
    shaped = {
        node.output[0] for node in graph.node if len(node.output) == 1 and node.op_type in _SHAPING
    }
    value_infos = [
        value_info
        for value_info in graph.value_info
        if value_info.name in shaped
        and any(size.dim_param for size in value_info.type.tensor_type.shape.dim)
    ]
    del graph.value_info[:]
    graph.value_info.extend(value_infos)


def _each_shape_once() -> AbstractContextManager[None]:
    """Do not cache the shapes of operators: with open sizes hardly one is computed twice.

    Each entry of the cache is checked by computing it again, a sixth of the time of a trace.
    """
    from torch._dynamo import config

    patched: AbstractContextManager[None] = config.patch(fake_tensor_cache_enabled=False)
    return patched


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Mute the exporter's notes about operators of packages that are not installed."""
    logger = logging.getLogger("torch.onnx")
    previous_level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(previous_level)
