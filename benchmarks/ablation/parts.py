"""Parts of the model that an ablation switches off by hooks, by name.

The network is that of the package. Before training, hooks hold the inputs or outputs of some
layers at zero, so that a part has no effect in training or in predictions.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast
from unittest import mock

import torch
from torch import Tensor, nn

from chronotope.contracts.event_log import Catalog
from chronotope.models import query_context
from chronotope.models.config import ModelConfig
from chronotope.models.gate import GATE_SIZES
from chronotope.models.kernels import KERNELS
from chronotope.models.network import ChronotopeNet
from chronotope.models.prior_scores import PRIOR_NAMES
from chronotope.models.repeat_features import N_RETURN_FEATURES
from chronotope.training import lightning_module, recommender

Change = Callable[[ChronotopeNet], object]
N_KERNELS, N_PRIORS, N_COUNTS = GATE_SIZES[:3]
PRIORS_START, AT_COUNTS, AT_RETURN = N_KERNELS, N_KERNELS + N_PRIORS, sum(GATE_SIZES[:3])
"""Where the gate's groups of weights begin."""

FULL: Final = "full"
REQUEST_TIMES: Final = "request_times"

KERNEL_GROUPS: Final = {
    "decays": ("decay_1d", "decay_7d", "decay_30d", "recency_3h", "rank"),
    "hours": ("hour", "hour_30d", "weekday", "weekday_hour", "weekend_hour"),
    "transitions": (
        *("transition", "transition_30d", "transition_hour", "transition_2", "last"),
        *("category_hour", "after_hour", "after_hour_30d", "after_weekend_hour", "after_recent"),
    ),
    "nearness": ("place", "after_near", "after_near_hour"),
    "times": ("time", "time_7d", "time_weekday", "time_transition"),
    "waits": ("wait", "wait_hour", "wait_transition", "wait_after_hour"),
    "counts": ("count", "today"),
}
PRIOR_GROUPS: Final = {
    "prior_popularity": ("popularity", "popularity_week"),
    "prior_hour": ("by_hour", "category_by_hour"),
    "prior_category": ("taste", "category_succession"),
    "prior_geography": ("neighbourhood", "distance", "next_door", "around"),
    "prior_succession": ("succession", "neighbours"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """Part of the model to switch off.

    Attributes:
        about: Description of the part, for tables.
        changes: Functions applied to a new network.
        swaps: Module, attribute and value to patch during training and prediction.
    """

    about: str
    changes: tuple[Change, ...] = ()
    swaps: tuple[tuple[Any, str, Any], ...] = ()

    @contextmanager
    def off(self) -> Iterator[None]:
        """Context in which networks are built, trained and evaluated without the part."""
        with ExitStack() as stack:
            for owner, name, value in (*self.swaps, (recommender, "ChronotopeNet", self.build)):
                stack.enter_context(mock.patch.object(owner, name, value))
            yield

    def build(self, config: ModelConfig, catalog: Catalog) -> ChronotopeNet:
        """Build a network without the part."""
        net = ChronotopeNet(config, catalog)
        for change in self.changes:
            change(net)
        return net


def without_kernels(names: Sequence[str]) -> Change:
    """Remove kernels from the weighted sum and from the inputs of the networks that read them."""
    columns = [KERNELS.index(name) for name in names]

    def change(net: ChronotopeNet) -> None:
        fix_outputs(gate_out(net), columns)
        drop_inputs(net.repeat_head.mix_kernels, columns)

    return change


def without_priors(names: Sequence[str]) -> Change:
    """Set the weights of some priors to zero."""
    columns = [PRIORS_START + PRIOR_NAMES.index(name) for name in names]
    return lambda net: fix_outputs(gate_out(net), columns)


def without_whole_past(net: ChronotopeNet) -> None:
    """Remove item counts over the history that is older than the kernels' window."""
    fix_outputs(gate_out(net), range(AT_COUNTS, AT_RETURN))
    drop_inputs(net.repeat_head.mix_kernels, range(N_KERNELS, N_KERNELS + N_COUNTS))


def without_return_features(net: ChronotopeNet) -> None:
    """Remove the return features, the last inputs of the layer over the item features."""
    layer = net.repeat_head.mix_features
    drop_inputs(layer, range(layer.in_features - N_RETURN_FEATURES, layer.in_features))


def without_return_gate(net: ChronotopeNet) -> None:
    """Score returns like discoveries: the whole prior score and no bonus."""
    fix_outputs(gate_out(net), [AT_RETURN], 1.0)
    fix_outputs(gate_out(net), [AT_RETURN + 1])


def without_context(net: ChronotopeNet) -> None:
    """Remove the context, so that every query has the same weights."""
    gate = cast("nn.Linear", net.gate[0])
    for layer in (gate, net.repeat_head.mix_context):
        drop_inputs(layer, range(gate.in_features))


def silent(path: str) -> Change:
    """Set the output of a layer to zero."""

    def change(net: ChronotopeNet) -> None:
        net.get_submodule(path).register_forward_hook(lambda _layer, _inputs, out: out * 0.0)

    return change


def gate_out(net: ChronotopeNet) -> nn.Linear:
    """Last layer of the gate, whose outputs are the weights of a query."""
    return cast("nn.Linear", net.gate[-1])


def drop_inputs(layer: nn.Linear, columns: Sequence[int]) -> None:
    """Set some inputs of a layer to zero."""
    kept = torch.ones(layer.in_features)
    kept[list(columns)] = 0.0
    layer.register_forward_pre_hook(lambda _layer, inputs: (inputs[0] * kept,))


def fix_outputs(layer: nn.Linear, columns: Sequence[int], value: float = 0.0) -> None:
    """Set some outputs of a layer to a constant."""
    fixed = torch.zeros(layer.out_features, dtype=torch.bool)
    fixed[list(columns)] = True
    layer.register_forward_hook(lambda _layer, _inputs, out: torch.where(fixed, value, out))


def _nothing_new(items: Tensor) -> tuple[Tensor, ...]:
    """Zero values of the three novelty features of the context."""
    return (torch.zeros(len(items)),) * 3


PARTS: Final[dict[str, Part]] = {
    FULL: Part("nothing"),
    "decays": Part("kernels that decay with age", (without_kernels(KERNEL_GROUPS["decays"]),)),
    "hours": Part("kernels of hour and weekday", (without_kernels(KERNEL_GROUPS["hours"]),)),
    "transitions": Part(
        "kernels of events that followed similar events",
        (without_kernels(KERNEL_GROUPS["transitions"]),),
    ),
    "nearness": Part(
        "kernels of place and distance", (without_kernels(KERNEL_GROUPS["nearness"]),)
    ),
    "times": Part("kernels of the minute of the day", (without_kernels(KERNEL_GROUPS["times"]),)),
    "waits": Part("kernels of the gap before an event", (without_kernels(KERNEL_GROUPS["waits"]),)),
    "counts": Part(
        "item counts, recent and over the whole history",
        (without_kernels(KERNEL_GROUPS["counts"]), without_whole_past),
    ),
    "repeat_head": Part(
        "the repeat head, which ranks the user's own items", (silent("repeat_head.mix_out"),)
    ),
    "item_features": Part(
        "item features of the repeat head", (silent("repeat_head.item_features"),)
    ),
    "return_features": Part(
        "age, interval and shares of items and categories in the repeat head",
        (without_return_features,),
    ),
    "prior_popularity": Part(
        "popularity, all time and last week", (without_priors(PRIOR_GROUPS["prior_popularity"]),)
    ),
    "prior_hour": Part(
        "hours of items and categories", (without_priors(PRIOR_GROUPS["prior_hour"]),)
    ),
    "prior_category": Part(
        "category counts of the user and category transitions",
        (without_priors(PRIOR_GROUPS["prior_category"]),),
    ),
    "prior_geography": Part(
        "neighbourhood and distance", (without_priors(PRIOR_GROUPS["prior_geography"]),)
    ),
    "prior_succession": Part(
        "successors and neighbours of items", (without_priors(PRIOR_GROUPS["prior_succession"]),)
    ),
    "return_gate": Part("the gate of returns against discoveries", (without_return_gate,)),
    "novelty": Part(
        "novelty of the latest events in the context",
        swaps=((query_context, "_novelty", _nothing_new),),
    ),
    "context": Part("the context of every gate and network", (without_context,)),
    "side_losses": Part(
        "losses of the time and place heads", swaps=((lightning_module, "SIDE_WEIGHT", 0.0),)
    ),
    REQUEST_TIMES: Part("the average over likely request times"),
}
