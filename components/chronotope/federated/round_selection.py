"""Comparison of rounds by the loss on the clients' later targets.

Clients differ: after drop-outs, the mean losses of two rounds are of different clients, and their
difference says more about the clients than about the parameters.
"""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from chronotope.federated.aggregation import trimmed_mean
from chronotope.federated.config import AggregationConfig


class RoundRecord(BaseModel):
    """One aggregation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Section or round")
    n_answers: int = Field(ge=0, description="Clients whose answers count")
    failures: dict[str, int] = Field(description="Clients without an answer, by reason")
    later_loss: float | None = Field(
        None, description="Loss of the round's start on the clients' later targets, nats"
    )
    update_norm: float | None = Field(None, description="L2 norm of the update")
    mb_per_client: float = Field(ge=0, description="Answer of a client, 2^20 bytes")
    seconds: float = Field(ge=0, description="Wall-clock time")
    client_numbers: tuple[int, ...] = Field((), description="Clients whose answers count")
    client_losses: dict[int, tuple[float, float]] = Field(
        default_factory=dict,
        description="Mean later loss and later targets by client; empty where sums alone are known",
    )
    implausible_clients: tuple[int, ...] = Field(
        (), description="Clients whose counts contradict each other; they are asked no more"
    )


def loss_change(
    before: RoundRecord, after: RoundRecord, aggregation: AggregationConfig
) -> float | None:
    """Mean change of the later loss between the starts of two rounds.

    Where single losses are known, over the clients that answered both rounds, weighted by their
    targets; under a robust rule, the trimmed mean.

    Args:
        before: Earlier round.
        after: Later round.
        aggregation: Rule of the aggregation.

    Returns:
        Nats, below 0 if the later parameters are better; None if the rounds cannot be compared.
    """
    if before.later_loss is None or after.later_loss is None:
        return None
    if not before.client_losses or not after.client_losses:
        same = before.client_numbers == after.client_numbers
        return after.later_loss - before.later_loss if same else None
    common = sorted(set(before.client_losses) & set(after.client_losses))
    if not common:
        return None
    changes = np.array(
        [after.client_losses[n][0] - before.client_losses[n][0] for n in common], np.float64
    )
    weights = np.array([after.client_losses[n][1] for n in common], np.float64)
    if aggregation.rule == "mean":
        return float(np.average(changes, weights=weights))
    trim_share = aggregation.trim_share if aggregation.rule == "trimmed_mean" else 0.5
    return float(trimmed_mean(changes[:, None], weights, trim_share)[0])
