"""Write a network and its priors as one ONNX graph, from raw history to scores."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from chronotope.contracts.errors import ArtifactError
from chronotope.models.batch import INPUT_NAMES, Batch
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors

MOST_BYTES = 2**31 - 2**20
"""Protocol buffers end at two GiB; a graph's nodes need some of it."""

OUTPUT_NAMES = ("item_scores", "when", "place_scores")


class _Graph(nn.Module):
    """A network with its priors as buffers and plain tensors as inputs."""

    def __init__(self, net: ChronotopeNet, priors: Priors) -> None:
        super().__init__()
        self.net = net
        for name, table in priors._asdict().items():
            self.register_buffer(name, table)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs in the order of ``OUTPUT_NAMES``; the unknown item never wins."""
        priors = Priors(*(getattr(self, name) for name in Priors._fields))
        told = inputs if len(inputs) == len(INPUT_NAMES) else (*inputs, empty_context(inputs[-1]))
        out = self.net(Batch(*told), priors)
        return out.item_scores, out.when, out.place_scores


def export_onnx(net: ChronotopeNet, priors: Priors, path: Path) -> None:
    """Export with a dynamic batch and a fixed history length.

    Args:
        net: The trained network.
        priors: The state frozen into the graph.
        path: The file to write.
    """
    inputs, names = example_inputs(net)
    export_module(_Graph(net, priors), inputs, names, OUTPUT_NAMES, path)


def export_module(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    path: Path,
) -> None:
    """Export any module with a dynamic batch.

    Args:
        module: What is traced, in evaluation mode.
        inputs: An example of two queries.
        input_names: One name an input.
        output_names: One name an output.
        path: The file to write.

    Raises:
        ArtifactError: Its tables are more than one ONNX file can hold.
    """
    n_bytes = sum(table.nbytes for table in module.state_dict().values())
    if n_bytes >= MOST_BYTES:
        raise ArtifactError(
            "The catalogue is too large for one ONNX graph",
            received=f"{n_bytes / 1e9:.1f} GB of tables, {MOST_BYTES / 1e9:.1f} GB can be held",
            way_out="Leave items out that hardly anybody had, or set a smaller model.d_model",
        )
    batch = torch.export.Dim("batch", min=1, max=65_536)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            module.eval(),
            inputs,
            str(path),
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_shapes=(tuple({0: batch} for _ in inputs),),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    _without_notes(path)


def _without_notes(path: Path) -> None:
    """Leave out what the exporter notes for people: where in Python each node came from."""
    model = onnx.load(path)
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input):
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.save(model, path)


def example_inputs(net: ChronotopeNet) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Two queries as a network reads them, and the names of its inputs."""
    example = _example(net.config.history_len, n_columns=len(net.config.context))
    return example, INPUT_NAMES[: len(example)]


def empty_context(time_given: Tensor) -> Tensor:
    """The context of a model without columns, shape (B, 0)."""
    return time_given[:, None][:, :0]


def _example(history_len: int, *, n_columns: int) -> tuple[Tensor, ...]:
    """Distinct tensors, since the exporter merges inputs that are one object."""
    histories = [torch.ones(2, history_len, dtype=torch.int64) for _ in range(4)]
    moments = [torch.ones(2, dtype=torch.int64) for _ in range(3)]
    context = [torch.ones(2, n_columns)] if n_columns else []
    return (*histories, *moments, torch.ones(2), *context)
