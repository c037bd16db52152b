"""ONNX of recurrent networks with ``tanh`` cells; torch's exporter has LSTM and GRU alone.

Without it a network with the backbone ``rnn`` is traced a second time to take its layers apart,
which takes as long as the rest of an export, and its graph repeats the cell for every event.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from onnxscript import opset18


def rnn_tanh(
    inputs: Any,
    first_states: Any,
    weights: Sequence[Any],
    has_biases: bool,
    n_layers: int,
    dropout: float,
    is_training: bool,
    is_bidirectional: bool,
    batch_first: bool,
) -> tuple[Any, Any]:
    """ONNX ``RNN`` nodes of ``aten::rnn_tanh.input``, one a layer.

    Args:
        inputs: Inputs, shape (B, W, D), or (W, B, D) without ``batch_first``.
        first_states: States before the first event, shape (n_layers, B, D).
        weights: Of each layer the weights of the inputs (D, D) and of the states (D, D).
        has_biases: Whether two biases a layer follow its weights.
        n_layers: Number of layers.
        dropout: Share of outputs dropped between layers of a training.
        is_training: Whether the network is trained.
        is_bidirectional: Whether a second pass reads from the last event to the first.
        batch_first: Order of the first two axes of inputs and outputs.

    Returns:
        Outputs in the shape of the inputs, and the last states, shape (n_layers, B, D).

    Raises:
        NotImplementedError: The network has biases, a second direction or an active dropout.
    """
    if has_biases or is_bidirectional or (is_training and dropout > 0):
        raise NotImplementedError("rnn_tanh with biases, two directions or dropout")
    states = opset18.Transpose(inputs, perm=[1, 0, 2]) if batch_first else inputs  # (W, B, D)
    last_states = []
    for layer in range(n_layers):
        input_weights, state_weights = weights[2 * layer : 2 * layer + 2]
        outputs, last_state = opset18.RNN(
            states,
            opset18.Unsqueeze(input_weights, _number(0)),
            opset18.Unsqueeze(state_weights, _number(0)),
            initial_h=opset18.Slice(first_states, _number(layer), _number(layer + 1), _number(0)),
            hidden_size=first_states.shape[2],
        )
        states = opset18.Squeeze(outputs, _number(1))  # (W, 1, B, D) to (W, B, D)
        last_states.append(last_state)
    outputs = opset18.Transpose(states, perm=[1, 0, 2]) if batch_first else states
    return outputs, opset18.Concat(*last_states, axis=0)


def _number(value: int) -> Any:
    """Constant of the graph, shape (1,)."""
    return opset18.Constant(value_ints=[value])


RECURRENT_OPERATORS: Final[dict[Callable[..., Any], Callable[..., Any]]] = {
    torch.ops.aten.rnn_tanh.input: rnn_tanh
}
"""Translations that torch's exporter has not, by their operators."""
