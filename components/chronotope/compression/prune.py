"""Remove what matters least: single weights by magnitude, or whole hidden units."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from chronotope.models.network import ChronotopeNet

FineTune = Callable[[ChronotopeNet], ChronotopeNet]
"""Trains a network further in place or anew, and returns it."""

_SPARSE = ("gate.", "own.mix", "backbone.")
_EMBEDDINGS = ("backbone.item.", "backbone.category.")


def prune_weights(
    net: ChronotopeNet, share: float, fine_tune: FineTune | None = None
) -> ChronotopeNet:
    """Set the smallest weights to zero, over all layers at once, and keep them there.

    Neither the file nor the latency shrinks; it shows how much of the network is idle.

    Args:
        net: The network; it is not changed.
        share: Share of the weights of gates, mixing and backbone (embeddings apart).
        fine_tune: Training of the pruned network; pruned weights get no gradient.
    """
    pruned = copy.deepcopy(net)
    weights = _prunable(pruned)
    sizes = torch.cat([w.detach().abs().flatten() for w in weights])
    n_zero = int(share * len(sizes))
    if n_zero == 0:
        return pruned if fine_tune is None else fine_tune(pruned)
    bound = sizes.kthvalue(n_zero).values
    masks = [(w.detach().abs() > bound).float() for w in weights]
    _apply(weights, masks)
    if fine_tune is None:
        return pruned
    holds = [_hold(w, m) for w, m in zip(weights, masks, strict=True)]
    tuned = fine_tune(pruned)
    for hold in holds:
        hold.remove()
    _apply(_prunable(tuned), masks)
    return tuned


def prune_units(
    net: ChronotopeNet, share: float, fine_tune: FineTune | None = None
) -> ChronotopeNet:
    """Remove hidden units of the mixing and the gate: the layers get smaller.

    A unit matters as much as the norm of its incoming weights times that of its
    outgoing ones; at least four stay in each layer.

    Args:
        net: The network; it is not changed.
        share: Share of each layer's units to remove.
        fine_tune: Training of the smaller network.
    """
    small = copy.deepcopy(net)
    own = small.own
    inputs = (own.mix_kernels, own.mix_context, own.mix_facts)
    mixing = torch.cat([layer.weight for layer in inputs], dim=1)
    kept = _strongest(mixing, own.mix_out.weight, share)
    own.mix_kernels, own.mix_context, own.mix_facts = (_keep_outputs(x, kept) for x in inputs)
    own.mix_out = _keep_inputs(own.mix_out, kept)
    small.config = small.config.model_copy(update={"n_hidden": len(kept)})
    small.gate = _narrower(small.gate, share)
    return small if fine_tune is None else fine_tune(small)


def _narrower(layers: nn.Sequential, share: float) -> nn.Sequential:
    """A linear, activation, linear stack with fewer units between."""
    first, activation, last = layers
    if not (isinstance(first, nn.Linear) and isinstance(last, nn.Linear)):
        return layers
    kept = _strongest(first.weight, last.weight, share)
    return nn.Sequential(_keep_outputs(first, kept), activation, _keep_inputs(last, kept))


def _strongest(incoming: Tensor, outgoing: Tensor, share: float) -> Tensor:
    """Positions of the units that stay, increasing."""
    strength = incoming.detach().norm(dim=1) * outgoing.detach().norm(dim=0)
    n_kept = max(min(4, len(strength)), round((1.0 - share) * len(strength)))
    kept: Tensor = strength.topk(n_kept).indices.sort().values
    return kept


def _keep_outputs(layer: nn.Linear, kept: Tensor) -> nn.Linear:
    small = nn.Linear(layer.in_features, len(kept))
    with torch.no_grad():
        small.weight.copy_(layer.weight[kept])
        small.bias.copy_(layer.bias[kept])
    return small


def _keep_inputs(layer: nn.Linear, kept: Tensor) -> nn.Linear:
    small = nn.Linear(len(kept), layer.out_features)
    with torch.no_grad():
        small.weight.copy_(layer.weight[:, kept])
        small.bias.copy_(layer.bias)
    return small


def _prunable(net: ChronotopeNet) -> list[nn.Parameter]:
    """Weight matrices in a fixed order."""
    return [
        parameter
        for name, parameter in net.named_parameters()
        if name.startswith(_SPARSE) and not name.startswith(_EMBEDDINGS) and parameter.ndim == 2
    ]


def _apply(weights: list[nn.Parameter], masks: list[Tensor]) -> None:
    with torch.no_grad():
        for weight, mask in zip(weights, masks, strict=True):
            weight.mul_(mask)


def _hold(weight: nn.Parameter, mask: Tensor) -> RemovableHandle:
    """Let no gradient reach the pruned weights until the handle is removed."""
    handle: RemovableHandle = weight.register_hook(lambda gradient: gradient * mask)  # type: ignore[no-untyped-call]
    return handle
