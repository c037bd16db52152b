"""Aggregation of the clients' answers: a secure sum, or robust rules over single answers."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chronotope.contracts.errors import EngineError
from chronotope.contracts.event_log import Float64
from chronotope.federated.clients.client_data import ClientFolder
from chronotope.federated.clients.orders import N_FIGURES, FederationSpec, Order
from chronotope.federated.clients.protocol_calls import (
    ClientCall,
    advertise_keys,
    answer_masked,
    answer_plain,
    reveal_shares,
    share_secrets,
)
from chronotope.federated.config import AggregationConfig
from chronotope.federated.secure.masks import decode
from chronotope.federated.secure.unmasked_sum import unmasked_sum
from chronotope.runtime.engine.client_pool import ClientPool

MAX_COUNT_RATIO = 2.0
"""Events of a client beyond so many times the median are scaled down where rules are robust."""


@dataclass(slots=True)
class Answers:
    """Answers of one aggregation.

    Attributes:
        total: Sum of the vectors; None where single ones are known.
        vectors: Vector of each client; empty under secure aggregation.
        survivors: Clients whose answers count.
        failures: Why others do not, by client.
        n_bytes: Size of the answers of all clients.
    """

    total: Float64 | None = None
    vectors: dict[int, Float64] = field(default_factory=dict)
    survivors: tuple[int, ...] = ()
    failures: dict[int, str] = field(default_factory=dict)
    n_bytes: int = 0


class Aggregator:
    """Asks all clients and keeps what arrives in time."""

    def __init__(
        self, spec: FederationSpec, clients: tuple[ClientFolder, ...], pool: ClientPool
    ) -> None:
        """Store references."""
        self._spec, self._clients, self._pool = spec, clients, pool

    def ask(self, order: Order) -> Answers:
        """Answers of the clients to an order.

        Args:
            order: What to do.

        Raises:
            EngineError: Too few clients answer.
        """
        session = f"{order.name} {secrets.token_hex(8)}"
        answers = Answers()
        calls = {
            client.number: ClientCall(client, self._spec, order, session)
            for client in self._clients
        }
        if self._spec.federation.aggregation.secure:
            self._ask_securely(calls, answers)
        else:
            answers.vectors = self._call(answer_plain, calls, answers)
            answers.survivors = tuple(answers.vectors)
            answers.n_bytes = sum(vector.nbytes for vector in answers.vectors.values())
        return answers

    def _ask_securely(self, calls: dict[int, ClientCall], answers: Answers) -> None:
        keys = self._call(advertise_keys, calls, answers)
        messages = self._call(share_secrets, _extended(calls, keys, keys=keys), answers)
        partners = tuple(sorted(messages))
        calls = _extended(calls, messages, keys=keys, partners=partners)
        masked = self._call(answer_masked, calls, answers)
        survivors = tuple(sorted(masked))
        dropped = tuple(number for number in partners if number not in masked)
        calls = {
            number: _with(
                calls[number],
                dropped=dropped,
                received={sender: messages[sender][number] for sender in partners},
            )
            for number in survivors
        }
        shares = self._call(reveal_shares, calls, answers)
        order = next(iter(calls.values())).order
        masked_sum = sum(masked.values())
        total = unmasked_sum(
            masked_sum, shares, keys, next(iter(calls.values())).session, order.modulus_bits
        )
        answers.total = decode(total, order.scale_bits, order.modulus_bits)
        answers.survivors = survivors
        answers.n_bytes = sum(vector.nbytes for vector in masked.values())

    def _call(
        self,
        function: Callable[[ClientCall], Any],
        calls: Mapping[int, ClientCall],
        answers: Answers,
    ) -> dict[int, Any]:
        """Results of a step by client; failures are added to the answers."""
        outcomes = self._pool.call(function, calls, self._spec.federation.timeout_s)
        failures = {number: outcome.failure for number, outcome in outcomes.items()}
        answers.failures |= {number: failure for number, failure in failures.items() if failure}
        results = {
            number: outcome.result for number, outcome in outcomes.items() if not outcome.failure
        }
        needed = self._spec.federation.threshold(self._spec.n_clients)
        if len(results) < needed:
            names = {client.number: client.name for client in self._clients}
            reasons = (f"{names[number]}: {why}" for number, why in answers.failures.items())
            raise EngineError(
                "Too few clients answered",
                received=f"{len(results)} of {self._spec.n_clients}, needed {needed}; "
                + "; ".join(reasons),
                way_out="Start the run again, which continues, or leave broken clients out",
            )
        return results


def summed_counts(answers: Answers, aggregation: AggregationConfig) -> Float64:
    """Sum of the clients' counts.

    Under a robust rule a client's counts are scaled to at most ``MAX_COUNT_RATIO`` times the
    median client's sum. Most cells of most clients are 0, so that a trimmed mean would be as well.

    Args:
        answers: Answers to a count.
        aggregation: The rule.
    """
    if answers.total is not None:
        return np.maximum(answers.total, 0.0)
    vectors = list(answers.vectors.values())
    if aggregation.rule == "mean":
        return np.asarray(sum(vectors), np.float64)
    sizes = [float(np.abs(vector).sum()) for vector in vectors]
    bound = MAX_COUNT_RATIO * float(np.median(sizes))
    total = np.zeros_like(vectors[0])
    for vector, size in zip(vectors, sizes, strict=True):
        total += np.maximum(vector, 0.0) * min(1.0, bound / max(size, 1e-12))
    return total


@dataclass(frozen=True, slots=True)
class AggregatedUpdate:
    """Update of a round.

    Attributes:
        update: Change of the parameters, shape (n_parameters,).
        later_loss: Loss of the round's start on the clients' later targets; None if unknown.
    """

    update: Float64
    later_loss: float | None


def aggregated_update(answers: Answers, aggregation: AggregationConfig) -> AggregatedUpdate:
    """Update by the rule of the settings.

    Args:
        answers: Answers to a round.
        aggregation: The rule.
    """
    if answers.total is not None:
        return _mean_update(answers.total)
    vectors = list(answers.vectors.values())
    if aggregation.rule == "mean":
        return _mean_update(_bounded_sum(vectors, aggregation.update_norm))
    rows = np.stack([_own_update(vector, aggregation.update_norm) for vector in vectors])
    if aggregation.rule == "median":
        update = np.median(rows, axis=0)
    else:
        n_cut = int(np.ceil(aggregation.trim_share * len(rows)))
        n_cut = min(n_cut, (len(rows) - 1) // 2)
        update = np.sort(rows, axis=0)[n_cut : len(rows) - n_cut].mean(0)
    losses = [vector[-2] / vector[-1] for vector in vectors if vector[-1] > 0]
    return AggregatedUpdate(update, float(np.median(losses)) if losses else None)


def _mean_update(total: Float64) -> AggregatedUpdate:
    weight, loss_sum, n_later = total[-N_FIGURES:]
    later_loss = float(loss_sum / n_later) if n_later > 0 else None
    return AggregatedUpdate(total[:-N_FIGURES] / max(weight, 1e-12), later_loss)


def _bounded_sum(vectors: list[Float64], update_norm: float | None) -> Float64:
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        weight = vector[-N_FIGURES]
        total[:-N_FIGURES] += weight * _own_update(vector, update_norm)
        total[-N_FIGURES:] += vector[-N_FIGURES:]
    return total


def _own_update(vector: Float64, update_norm: float | None) -> Float64:
    """Update of one client, within the bound."""
    update = vector[:-N_FIGURES] / max(vector[-N_FIGURES], 1e-12)
    if update_norm is None:
        return np.asarray(update, np.float64)
    norm = max(1e-12, float(np.linalg.norm(update)))
    return np.asarray(update * min(1.0, update_norm / norm), np.float64)


def _with(call: ClientCall, **changes: Any) -> ClientCall:
    return ClientCall(
        **{name: changes.get(name, getattr(call, name)) for name in ClientCall.__slots__}
    )


def _extended(
    calls: Mapping[int, ClientCall], numbers: Mapping[int, Any], **changes: Any
) -> dict[int, ClientCall]:
    """Calls of some clients with further fields."""
    return {number: _with(calls[number], **changes) for number in numbers}
