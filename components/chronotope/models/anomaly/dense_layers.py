"""Linear layers of a network as arrays, from which a graph is written."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from torch import nn

from chronotope.contracts.event_log import Float32

_ACTIVATIONS: Final = {nn.SiLU: "silu", nn.LeakyReLU: "leaky_relu"}


@dataclass(frozen=True, slots=True)
class DenseLayer:
    """A linear layer and its activation.

    Attributes:
        weight: Shape (n_outputs, n_inputs).
        bias: Shape (n_outputs,).
        activation: ``silu``, ``leaky_relu`` or ``none``.
    """

    weight: Float32
    bias: Float32
    activation: str


def dense_layers(layers: nn.Sequential) -> Iterator[DenseLayer]:
    """Linear layers of a network with the activation behind each.

    Args:
        layers: Linear layers and activations in turn.
    """
    layer_modules = list(layers)
    for layer_module, next_module in zip(layer_modules, [*layer_modules[1:], None], strict=True):
        if isinstance(layer_module, nn.Linear):
            activation = (
                "none" if next_module is None else _ACTIVATIONS.get(type(next_module), "none")
            )
            yield DenseLayer(
                layer_module.weight.detach().numpy(), layer_module.bias.detach().numpy(), activation
            )
