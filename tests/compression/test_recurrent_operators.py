"""A recurrent network of ``tanh`` cells is one ONNX node a layer, and answers as torch does."""

import io
import warnings
from collections.abc import Iterator

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from chronotope.compression.tracing.convert_program import convert_program


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class LastStates(nn.Module):
    """Outputs and last states of a recurrent network."""

    def __init__(self, **options: bool | int) -> None:
        super().__init__()
        self.layers = nn.RNN(3, 5, **options)  # type: ignore[arg-type]

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        outputs, last_states = self.layers(vectors)
        return outputs, last_states


def convert(
    net: nn.Module, vectors: Tensor, monkeypatch: pytest.MonkeyPatch
) -> tuple[torch.onnx.ONNXProgram, int]:
    """The graph of a network, and how often its program was traced again."""
    decompose, calls = ExportedProgram.run_decompositions, []

    def counted(program: ExportedProgram, *arguments: object) -> ExportedProgram:
        calls.append(program)
        return decompose(program, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ExportedProgram, "run_decompositions", counted)
    program = torch.export.export(net.eval(), (vectors,))
    return convert_program(program, ["vectors"], ["outputs", "last_states"]), len(calls)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("bias", "n_nodes"), [(False, 2), (True, 0)])
def test_the_graph_answers_as_torch(
    batch_first: bool, bias: bool, n_nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With biases, which no network here has, the layers are taken apart as torch does it."""
    torch.manual_seed(0)
    net = LastStates(num_layers=2, batch_first=batch_first, bias=bias)
    vectors = torch.randn(4, 6, 3)
    graph, n_decompositions = convert(net, vectors, monkeypatch)
    operators = [node.op_type for node in graph.model.graph]
    assert operators.count("RNN") == n_nodes
    assert n_decompositions == int(bias)
    content = io.BytesIO()
    graph.save(content)
    session = onnxruntime.InferenceSession(content.getvalue(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"vectors": vectors.numpy()})
    for output, expected in zip(outputs, net(vectors), strict=True):
        np.testing.assert_allclose(output, expected.detach().numpy(), atol=1e-5)
