"""Pruning of the least important parts: single weights by magnitude, or whole hidden units."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from chronotope.models.network import ChronotopeNet

FineTune = Callable[[ChronotopeNet], ChronotopeNet]
"""Trains a network further in place or anew, and returns it."""

_PRUNABLE_PREFIXES = ("gate.", "repeat_head.mix", "backbone.")
_EMBEDDING_PREFIXES = ("backbone.item_embedding.", "backbone.category_embedding.")

MIN_UNITS = 4


def prune_weights(
    net: ChronotopeNet, share: float, fine_tune: FineTune | None = None
) -> ChronotopeNet:
    """Magnitude pruning: set the smallest weights of all layers to zero, permanently.

    Neither the file nor the latency shrinks; it shows the share of the network that is idle.

    Args:
        net: The network; it is not changed.
        share: Share of the weights of gates, mixing and backbone (embeddings excluded).
        fine_tune: Training of the pruned network; pruned weights get no gradient.
    """
    pruned_net = copy.deepcopy(net)
    weights = _prunable_weights(pruned_net)
    magnitudes = torch.cat([weight.detach().abs().flatten() for weight in weights])
    n_zero = int(share * len(magnitudes))
    if n_zero == 0:
        return pruned_net if fine_tune is None else fine_tune(pruned_net)
    threshold = magnitudes.kthvalue(n_zero).values
    masks = [(weight.detach().abs() > threshold).float() for weight in weights]
    _apply_masks(weights, masks)
    if fine_tune is None:
        return pruned_net
    hook_handles = [_mask_gradient(*pair) for pair in zip(weights, masks, strict=True)]
    tuned_net = fine_tune(pruned_net)
    for hook_handle in hook_handles:
        hook_handle.remove()
    _apply_masks(_prunable_weights(tuned_net), masks)
    return tuned_net


def prune_units(
    net: ChronotopeNet, share: float, fine_tune: FineTune | None = None
) -> ChronotopeNet:
    """Structured pruning: remove hidden units of the mixing and the gate, so layers get smaller.

    The importance of a unit is the norm of its incoming weights times that of its
    outgoing ones; at least four units remain in each layer.

    Args:
        net: The network; it is not changed.
        share: Share of each layer's units to remove.
        fine_tune: Training of the smaller network.
    """
    small_net = copy.deepcopy(net)
    head = small_net.repeat_head
    input_layers = (head.mix_kernels, head.mix_context, head.mix_features)
    incoming_weights = torch.cat([layer.weight for layer in input_layers], dim=1)  # (H, n_inputs)
    unit_idx = _strongest_units(incoming_weights, head.mix_out.weight, share)
    head.mix_kernels, head.mix_context, head.mix_features = (
        _select_outputs(layer, unit_idx) for layer in input_layers
    )
    head.mix_out = _select_inputs(head.mix_out, unit_idx)
    small_net.config = small_net.config.model_copy(update={"n_hidden": len(unit_idx)})
    small_net.gate = _narrow_stack(small_net.gate, share)
    return small_net if fine_tune is None else fine_tune(small_net)


def _narrow_stack(layers: nn.Sequential, share: float) -> nn.Sequential:
    """A linear, activation, linear stack with fewer hidden units."""
    first_layer, activation, last_layer = layers
    if not (isinstance(first_layer, nn.Linear) and isinstance(last_layer, nn.Linear)):
        return layers
    unit_idx = _strongest_units(first_layer.weight, last_layer.weight, share)
    return nn.Sequential(
        _select_outputs(first_layer, unit_idx), activation, _select_inputs(last_layer, unit_idx)
    )


def _strongest_units(incoming_weights: Tensor, outgoing_weights: Tensor, share: float) -> Tensor:
    """Increasing indices of the units that remain."""
    importance = incoming_weights.detach().norm(dim=1) * outgoing_weights.detach().norm(dim=0)
    n_units = len(importance)
    n_remaining = max(min(MIN_UNITS, n_units), round((1.0 - share) * n_units))
    unit_idx: Tensor = importance.topk(n_remaining).indices.sort().values
    return unit_idx


def _select_outputs(layer: nn.Linear, unit_idx: Tensor) -> nn.Linear:
    small_layer = nn.Linear(layer.in_features, len(unit_idx))
    with torch.no_grad():
        small_layer.weight.copy_(layer.weight[unit_idx])
        small_layer.bias.copy_(layer.bias[unit_idx])
    return small_layer


def _select_inputs(layer: nn.Linear, unit_idx: Tensor) -> nn.Linear:
    small_layer = nn.Linear(len(unit_idx), layer.out_features)
    with torch.no_grad():
        small_layer.weight.copy_(layer.weight[:, unit_idx])
        small_layer.bias.copy_(layer.bias)
    return small_layer


def _prunable_weights(net: ChronotopeNet) -> list[nn.Parameter]:
    """Weight matrices in a fixed order."""
    return [
        parameter
        for parameter_name, parameter in net.named_parameters()
        if parameter_name.startswith(_PRUNABLE_PREFIXES)
        and not parameter_name.startswith(_EMBEDDING_PREFIXES)
        and parameter.ndim == 2
    ]


def _apply_masks(weights: list[nn.Parameter], masks: list[Tensor]) -> None:
    with torch.no_grad():
        for weight, mask in zip(weights, masks, strict=True):
            weight.mul_(mask)


def _mask_gradient(weight: nn.Parameter, mask: Tensor) -> RemovableHandle:
    """Zero the gradient of pruned weights until the handle is removed."""
    handle: RemovableHandle = weight.register_hook(lambda gradient: gradient * mask)  # type: ignore[no-untyped-call]
    return handle
