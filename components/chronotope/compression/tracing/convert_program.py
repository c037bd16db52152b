"""Conversion of an exported program to ONNX without tracing it a second time.

``torch.onnx.export`` decomposes a program before it converts it: it traces the whole program
again, with open sizes half of the time of an export. The networks use a handful of composite
operators that the converter does not know; replacing these node by node makes the second trace
unnecessary. A program with others is decomposed as before.
"""

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

_LOG = logging.getLogger(__name__)
Aten = torch.ops.aten


def convert_program(
    program: ExportedProgram, input_names: Sequence[str], output_names: Sequence[str]
) -> torch.onnx.ONNXProgram:
    """Convert an exported program to ONNX, not optimised; the program is changed.

    Args:
        program: Program of ``torch.export.export``.
        input_names: Names of the inputs of the graph.
        output_names: Names of its outputs.
    """
    if use_core_operators(program):
        # Half a second to import, which binding a kept graph does not need
        from chronotope.compression.tracing.recurrent_operators import RECURRENT_OPERATORS

        undecomposed = copy.copy(program)
        object.__setattr__(undecomposed, "run_decompositions", lambda _table=None: undecomposed)
        try:
            return _export(undecomposed, input_names, output_names, RECURRENT_OPERATORS)
        except torch.onnx.OnnxExporterError as error:
            _LOG.debug("The program is decomposed: %s", error)
    return _export(program, input_names, output_names, {})


def _export(
    program: ExportedProgram,
    input_names: Sequence[str],
    output_names: Sequence[str],
    translations: Mapping[Callable[..., Any], Callable[..., Any]],
) -> torch.onnx.ONNXProgram:
    from chronotope.compression.tracing.type_promotion import traced_values

    with traced_values():
        onnx_program = torch.onnx.export(
            program,
            input_names=list(input_names),
            output_names=list(output_names),
            dynamo=True,
            external_data=False,
            custom_translation_table=dict(translations),
            optimize=False,
            verbose=False,
        )
    if onnx_program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    return onnx_program


def use_core_operators(program: ExportedProgram) -> bool:
    """Replace composite operators of a program in place.

    Args:
        program: Program of ``torch.export.export``.

    Returns:
        Whether the program is free of operators that change a tensor in place, without which
        it may be converted as it is.
    """
    graph = program.graph
    for node in list(graph.nodes):
        replace = _REPLACEMENTS.get(node.target)
        if node.op != "call_function" or replace is None:
            continue
        with graph.inserting_before(node):
            core_node = replace(graph, node)
        node.replace_all_uses_with(core_node)
        graph.erase_node(node)
    program.graph_module.recompile()
    return not any(_is_in_place(node) for node in graph.nodes)


def _is_in_place(node: Node) -> bool:
    operator = node.target
    return isinstance(operator, torch._ops.OpOverload) and operator._schema.is_mutable


def _same_value(graph: Graph, node: Node, operator: Any, *args: Any, **kwargs: Any) -> Node:
    """A node with another operator and the value, shape and origin of the node it replaces."""
    core_node = graph.call_function(operator, args, kwargs)
    core_node.meta = dict(node.meta)
    return core_node


def _to_copy(graph: Graph, node: Node) -> Node:
    source, dtype = node.args[:2]
    return _same_value(graph, node, Aten._to_copy.default, source, dtype=dtype)


def _square(graph: Graph, node: Node) -> Node:
    (source,) = node.args
    return _same_value(graph, node, Aten.mul.Tensor, source, source)


def _rsub(graph: Graph, node: Node) -> Node:
    source, minuend = node.args
    return _same_value(graph, node, Aten.sub.Tensor, minuend, source)


def _bitwise_and(graph: Graph, node: Node) -> Node:
    return _same_value(graph, node, Aten.bitwise_and.Tensor, *node.args)


def _bitwise_or(graph: Graph, node: Node) -> Node:
    return _same_value(graph, node, Aten.bitwise_or.Tensor, *node.args)


def _index_add(graph: Graph, node: Node) -> Node:
    source, axis, index, added_rows = node.args
    indices = [*[None] * cast("int", axis), index]
    return _same_value(graph, node, Aten.index_put.default, source, indices, added_rows, True)


def _transpose(graph: Graph, node: Node) -> Node:
    (source,) = node.args
    axes = list(reversed(range(node.meta["val"].dim())))
    return _same_value(graph, node, Aten.permute.default, source, axes)


def _source(_graph: Graph, node: Node) -> Any:
    """The operand: of constants, ``detach_`` changes nothing."""
    return node.args[0]


_REPLACEMENTS: Final[dict[Any, Callable[[Graph, Node], Node]]] = {
    Aten.to.dtype: _to_copy,
    Aten.square.default: _square,
    Aten.rsub.Scalar: _rsub,
    Aten.__and__.Tensor: _bitwise_and,
    Aten.__or__.Tensor: _bitwise_or,
    Aten.index_add.default: _index_add,
    Aten.numpy_T.default: _transpose,
    Aten.detach_.default: _source,
}
