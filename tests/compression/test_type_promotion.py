"""Casts by the values of a trace are those of torch's own pass, which runs every node."""

import warnings
from collections.abc import Iterator
from contextlib import nullcontext

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.onnx._internal.fx.passes import type_promotion

from chronotope.compression.tracing.type_promotion import traced_values

TORCHS_OWN = type_promotion._TypePromotionInterpreter


class Mixed(nn.Module):
    """Operators that promote one operand, both, a number, or nothing."""

    def forward(self, counts: Tensor, scores: Tensor) -> Tensor:
        halves = counts / 2  # whole numbers are divided as floats
        shifted = torch.where(counts > 1, scores, counts + 1)
        return (counts * scores + halves).sqrt() + shifted * shifted


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def converted(*, by_trace: bool) -> onnx.ModelProto:
    rows = torch.export.Dim("rows", min=1, max=100)
    inputs = (torch.arange(12).reshape(3, 4), torch.rand(3, 4))
    program = torch.export.export(Mixed(), inputs, dynamic_shapes=({0: rows}, {0: rows}))
    with traced_values() if by_trace else nullcontext():
        result = torch.onnx.export(program, dynamo=True, optimize=False, verbose=False)
    assert result is not None
    return result.model_proto


def test_the_casts_are_those_of_the_pass_that_runs_every_node() -> None:
    expected, model = converted(by_trace=False), converted(by_trace=True)
    operators = [node.op_type for node in expected.graph.node]
    assert operators.count("Cast") >= 2
    assert [node.op_type for node in model.graph.node] == operators
    assert [list(node.input) for node in model.graph.node] == [
        list(node.input) for node in expected.graph.node
    ]


def test_torchs_own_pass_is_put_back() -> None:
    with traced_values():
        assert type_promotion._TypePromotionInterpreter is not TORCHS_OWN
    assert type_promotion._TypePromotionInterpreter is TORCHS_OWN
