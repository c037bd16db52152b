"""A linear layer whose last inputs were added after networks had been stored."""

from typing import Any

import torch
from torch import Tensor, nn


def linear_with_later_inputs(n_in: int, n_out: int, n_later: int) -> nn.Linear:
    """A linear layer whose last inputs have no effect before they are trained.

    The other weights are drawn as without these inputs, so that a seed stays what it was. The
    weights of a network stored without them are completed by zeros when they are loaded.

    Args:
        n_in: Number of inputs, the later ones included.
        n_out: Number of outputs.
        n_later: Number of the later inputs, which are the last.
    """
    layer = nn.Linear(n_in - n_later, n_out)
    layer.in_features = n_in
    layer.weight = nn.Parameter(_with_zero_columns(layer.weight.detach(), n_later))
    layer.register_load_state_dict_pre_hook(_complete_weight)  # type: ignore[no-untyped-call]
    return layer


def _complete_weight(
    layer: nn.Module, state_dict: dict[str, Any], prefix: str, *_arguments: Any
) -> None:
    """Complete a stored weight that lacks the later inputs."""
    weight_name = f"{prefix}weight"
    if isinstance(layer, nn.Linear) and weight_name in state_dict:
        stored_weight = state_dict[weight_name]
        n_missing = layer.in_features - stored_weight.shape[1]
        if n_missing > 0:
            state_dict[weight_name] = _with_zero_columns(stored_weight, n_missing)


def _with_zero_columns(weight: Tensor, n_columns: int) -> Tensor:
    """Weights with further inputs of weight zero, shape (n_out, n_in + n_columns)."""
    return torch.cat([weight, weight.new_zeros(len(weight), n_columns)], dim=1)
