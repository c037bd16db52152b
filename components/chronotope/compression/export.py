"""ONNX export of a network and its priors as one graph, from raw history to scores."""

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

MAX_GRAPH_BYTES = 2**31 - 2**20
"""Size limit of protocol buffers, two GiB, less some space for the nodes."""

OUTPUT_NAMES = ("item_scores", "when", "place_scores")


class _ScoringGraph(nn.Module):
    """A network with its priors as buffers and plain tensors as inputs."""

    def __init__(self, net: ChronotopeNet, priors: Priors) -> None:
        super().__init__()
        self.net = net
        for buffer_name, prior_table in priors._asdict().items():
            self.register_buffer(buffer_name, prior_table)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs in the order of ``OUTPUT_NAMES``."""
        priors = Priors(*(getattr(self, field_name) for field_name in Priors._fields))
        has_context = len(inputs) == len(INPUT_NAMES)
        batch_inputs = inputs if has_context else (*inputs, empty_context(inputs[-1]))
        output = self.net(Batch(*batch_inputs), priors)
        return output.item_scores, output.when, output.place_scores


def export_onnx(net: ChronotopeNet, priors: Priors, onnx_path: Path) -> None:
    """Export with a dynamic batch and a fixed history length.

    Args:
        net: The trained network.
        priors: The state frozen into the graph.
        onnx_path: The file to write.
    """
    inputs, input_names = example_inputs(net)
    export_module(_ScoringGraph(net, priors), inputs, input_names, OUTPUT_NAMES, onnx_path)


def export_module(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: Sequence[str],
    output_names: Sequence[str],
    onnx_path: Path,
) -> None:
    """Export any module with a dynamic batch.

    Args:
        module: The module to trace, in evaluation mode.
        inputs: An example of two queries.
        input_names: One name an input.
        output_names: One name an output.
        onnx_path: The file to write.

    Raises:
        ArtifactError: Its tables exceed the size limit of an ONNX file.
    """
    n_bytes = sum(table.nbytes for table in module.state_dict().values())
    if n_bytes >= MAX_GRAPH_BYTES:
        raise ArtifactError(
            "The catalogue is too large for one ONNX graph",
            received=f"{n_bytes / 1e9:.1f} GB of tables, the limit is {MAX_GRAPH_BYTES / 1e9:.1f}",
            way_out="Leave items with very few events out, or set a smaller model.d_model",
        )
    batch_dim = torch.export.Dim("batch", min=1, max=65_536)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            module.eval(),
            inputs,
            str(onnx_path),
            input_names=list(input_names),
            output_names=list(output_names),
            dynamic_shapes=(tuple({0: batch_dim} for _ in inputs),),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    _strip_metadata(onnx_path)


def _strip_metadata(onnx_path: Path) -> None:
    """Remove the exporter's debug notes: the Python source of each node."""
    model = onnx.load(onnx_path)
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for graph_part in (*model.graph.node, *model.graph.initializer, *model.graph.input):
        graph_part.doc_string = ""
        del graph_part.metadata_props[:]
    onnx.save(model, onnx_path)


def example_inputs(net: ChronotopeNet) -> tuple[tuple[Tensor, ...], tuple[str, ...]]:
    """Two example queries of a network, and the names of its inputs."""
    inputs = _example_tensors(net.config.history_len, n_columns=len(net.config.context))
    return inputs, INPUT_NAMES[: len(inputs)]


def empty_context(time_given: Tensor) -> Tensor:
    """Context of a model without context columns, shape (B, 0)."""
    return time_given[:, None][:, :0]  # (B,) -> (B, 1) -> (B, 0)


def _example_tensors(history_len: int, *, n_columns: int) -> tuple[Tensor, ...]:
    """Distinct tensors, since the exporter merges inputs that are one object."""
    history_inputs = [torch.ones(2, history_len, dtype=torch.int64) for _ in range(4)]  # (B, H)
    request_inputs = [torch.ones(2, dtype=torch.int64) for _ in range(3)]  # (B,)
    context_inputs = [torch.ones(2, n_columns)] if n_columns else []
    return (*history_inputs, *request_inputs, torch.ones(2), *context_inputs)
