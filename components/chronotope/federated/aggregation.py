"""Aggregation of the clients' answers: a secure sum, or robust rules over single answers."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np

from chronotope.contracts.errors import EngineError
from chronotope.contracts.event_log import Float64
from chronotope.federated.clients.client_data import ClientFolder
from chronotope.federated.clients.orders import N_FIGURES, CountOrder, FederationSpec, Order
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

IMPLAUSIBLE: Final = "implausible counts"
"""Failure of a client whose counts no log can have."""

MAX_COUNT_RATIO: Final = 4.0
"""Events of a client beyond so many times the median are scaled down where rules are robust."""


@dataclass(slots=True)
class Answers:
    """Answers of one aggregation.

    Attributes:
        vector_total: Sum of the vectors; None where single ones are known.
        client_vectors: Vector of each client; empty under secure aggregation.
        surviving_clients: Clients whose answers count.
        failures: Why others do not, by client.
        n_bytes: Size of the answers of all clients.
    """

    vector_total: Float64 | None = None
    client_vectors: dict[int, Float64] = field(default_factory=dict)
    survivors: tuple[int, ...] = ()
    failures: dict[int, str] = field(default_factory=dict)
    n_bytes: int = 0


class OrderAggregation(Protocol):
    """Who asks the clients for the coordinator.

    Attributes:
        federation_spec: The federation; the coordinator replaces it when it has decided the model.
        excluded: Clients that are asked no more.
    """

    federation_spec: FederationSpec
    excluded: set[int]

    def ask(self, client_order: Order) -> Answers:
        """Answers of the clients to an order; raises ``EngineError`` if too few answer."""


class Aggregator:
    """Asks all clients and keeps what arrives in time.

    Attributes:
        federation_spec: The federation.
        excluded: Clients that are asked no more, since their counts contradicted each other.
    """

    def __init__(
        self,
        federation_spec: FederationSpec,
        clients: tuple[ClientFolder, ...],
        client_pool: ClientPool,
    ) -> None:
        """Store references."""
        self.federation_spec = federation_spec
        self.excluded: set[int] = set()
        self._clients, self._pool = clients, client_pool

    def ask(self, client_order: Order) -> Answers:
        """Answers of the clients to an order.

        Args:
            client_order: What to do.

        Raises:
            EngineError: Too few clients answer.
        """
        session_name = f"{client_order.name} {secrets.token_hex(8)}"
        client_answers = Answers()
        client_calls = {
            client.client_number: ClientCall(
                client, self.federation_spec, client_order, session_name
            )
            for client in self._clients
            if client.client_number not in self.excluded
        }
        client_answers.failures = dict.fromkeys(sorted(self.excluded), IMPLAUSIBLE)
        if self.federation_spec.federation.aggregation.secure:
            self._ask_securely(client_calls, client_answers)
        else:
            client_answers.client_vectors = self._call(answer_plain, client_calls, client_answers)
            if isinstance(client_order, CountOrder):
                self._ask_again(client_calls, client_answers)
            client_answers.survivors = tuple(client_answers.client_vectors)
            client_answers.n_bytes = sum(
                flat_vector.nbytes for flat_vector in client_answers.client_vectors.values()
            )
        return client_answers

    def _ask_again(self, client_calls: dict[int, ClientCall], client_answers: Answers) -> None:
        """Ask those without an answer again: counts are summed once, and each client matters."""
        for attempt in range(1, self.federation_spec.federation.count_retries + 1):
            missing = [number for number in client_calls if number in client_answers.failures]
            if not missing:
                return
            calls_again = {
                number: _with(client_calls[number], attempt=attempt) for number in missing
            }
            call_outcomes = self._pool.call(
                answer_plain, calls_again, self.federation_spec.federation.timeout_s
            )
            for number, outcome in call_outcomes.items():
                if outcome.result is not None:
                    client_answers.client_vectors[number] = outcome.result
                    del client_answers.failures[number]

    def _ask_securely(self, client_calls: dict[int, ClientCall], client_answers: Answers) -> None:
        public_keys = self._call(advertise_keys, client_calls, client_answers)
        share_messages = self._call(
            share_secrets, _extended(client_calls, public_keys, keys=public_keys), client_answers
        )
        partners = tuple(sorted(share_messages))
        client_calls = _extended(client_calls, share_messages, keys=public_keys, partners=partners)
        masked_vector = self._call(answer_masked, client_calls, client_answers)
        surviving_clients = tuple(sorted(masked_vector))
        dropped = tuple(
            client_number for client_number in partners if client_number not in masked_vector
        )
        client_calls = {
            client_number: _with(
                client_calls[client_number],
                dropped=dropped,
                received={sender: share_messages[sender][client_number] for sender in partners},
            )
            for client_number in surviving_clients
        }
        revealed_shares = self._call(reveal_shares, client_calls, client_answers)
        client_order = next(iter(client_calls.values())).client_order
        masked_sum = sum(masked_vector.values())
        vector_total = unmasked_sum(
            masked_sum,
            revealed_shares,
            public_keys,
            next(iter(client_calls.values())).session,
            client_order.modulus_bits,
        )
        client_answers.vector_total = decode(
            vector_total, client_order.scale_bits, client_order.modulus_bits
        )
        client_answers.survivors = surviving_clients
        client_answers.n_bytes = sum(flat_vector.nbytes for flat_vector in masked_vector.values())

    def _call(
        self,
        step_function: Callable[[ClientCall], Any],
        client_calls: Mapping[int, ClientCall],
        client_answers: Answers,
    ) -> dict[int, Any]:
        """Results of a step by client; failures are added to the answers."""
        call_outcomes = self._pool.call(
            step_function, client_calls, self.federation_spec.federation.timeout_s
        )
        failures = {
            client_number: outcome.failure for client_number, outcome in call_outcomes.items()
        }
        client_answers.failures |= {
            client_number: failure for client_number, failure in failures.items() if failure
        }
        call_results = {
            client_number: outcome.result
            for client_number, outcome in call_outcomes.items()
            if not outcome.failure
        }
        needed = self.federation_spec.federation.threshold(self.federation_spec.n_clients)
        if len(call_results) < needed:
            parameter_names = {client.client_number: client.name for client in self._clients}
            failure_reasons = (
                f"{parameter_names[client_number]}: {why}"
                for client_number, why in client_answers.failures.items()
            )
            raise EngineError(
                "Too few clients answered",
                received=f"{len(call_results)} of {len(self._clients)}, needed {needed}; "
                + "; ".join(failure_reasons),
                way_out="Start the run again, which continues, or leave broken clients out",
            )
        return call_results


def summed_counts(client_answers: Answers, aggregation: AggregationConfig) -> Float64:
    """Sum of the clients' counts.

    Under a robust rule a client's counts are scaled to at most ``MAX_COUNT_RATIO`` times the
    median client's sum. Most cells of most clients are 0, so that a trimmed mean would be as well.

    Args:
        client_answers: Answers to a count.
        aggregation: The rule.
    """
    if client_answers.vector_total is not None:
        return np.maximum(client_answers.vector_total, 0.0)
    client_vectors = list(client_answers.client_vectors.values())
    if aggregation.rule == "mean":
        return np.asarray(sum(client_vectors), np.float64)
    sizes = [float(np.abs(flat_vector).sum()) for flat_vector in client_vectors]
    bound = MAX_COUNT_RATIO * float(np.median(sizes))
    vector_total = np.zeros_like(client_vectors[0])
    for flat_vector, size in zip(client_vectors, sizes, strict=True):
        vector_total += np.maximum(flat_vector, 0.0) * min(1.0, bound / max(size, 1e-12))
    return vector_total


@dataclass(frozen=True, slots=True)
class AggregatedUpdate:
    """Update of a round.

    Attributes:
        parameter_update: Change of the parameters, shape (n_parameters,).
        later_loss: Loss of the round's start on the clients' later targets; None if unknown.
        client_losses: Mean later loss and later targets by client, where single ones are known.
    """

    parameter_update: Float64
    later_loss: float | None
    client_losses: dict[int, tuple[float, float]] = field(default_factory=dict)


def aggregated_update(client_answers: Answers, aggregation: AggregationConfig) -> AggregatedUpdate:
    """Update by the rule of the settings.

    Args:
        client_answers: Answers to a round.
        aggregation: The rule.
    """
    if client_answers.vector_total is not None:
        return _mean_update(client_answers.vector_total)
    client_vectors = list(client_answers.client_vectors.values())
    client_losses = {
        client_number: (float(flat_vector[-2] / flat_vector[-1]), float(flat_vector[-1]))
        for client_number, flat_vector in client_answers.client_vectors.items()
        if flat_vector[-1] > 0
    }
    if aggregation.rule == "mean":
        mean_update = _mean_update(_bounded_sum(client_vectors, aggregation.update_norm))
        return replace(mean_update, client_losses=client_losses)
    client_updates = np.stack(
        [_own_update(flat_vector, aggregation.update_norm) for flat_vector in client_vectors]
    )  # (n_answers, n_parameters)
    if aggregation.rule == "median":
        parameter_update = np.median(client_updates, axis=0)
    else:
        weights = np.array([flat_vector[-N_FIGURES] for flat_vector in client_vectors])
        parameter_update = trimmed_mean(client_updates, weights, aggregation.trim_share)
    losses = [mean_loss for mean_loss, _ in client_losses.values()]
    later_loss = float(np.median(losses)) if losses else None
    return AggregatedUpdate(parameter_update, later_loss, client_losses)


def trimmed_mean(client_updates: Float64, weights: Float64, trim_share: float) -> Float64:
    """Weighted mean by coordinate without the largest and smallest updates.

    Args:
        client_updates: Updates, shape (n_answers, n_parameters).
        weights: Targets that each client claims, shape (n_answers,); at most
            ``MAX_COUNT_RATIO`` times the median counts.
        trim_share: Share of the clients cut at either end.
    """
    n_answers = len(client_updates)
    n_cut = min(int(np.ceil(trim_share * n_answers)), (n_answers - 1) // 2)
    order = np.argsort(client_updates, axis=0)[n_cut : n_answers - n_cut]
    bounded_weights = np.clip(weights, 0.0, MAX_COUNT_RATIO * float(np.median(weights)))
    kept_weights = bounded_weights[order] + 1e-12
    kept_updates = np.take_along_axis(client_updates, order, axis=0)
    return np.asarray((kept_weights * kept_updates).sum(0) / kept_weights.sum(0), np.float64)


def _mean_update(vector_total: Float64) -> AggregatedUpdate:
    weight, loss_sum, n_later = vector_total[-N_FIGURES:]
    later_loss = float(loss_sum / n_later) if n_later > 0 else None
    return AggregatedUpdate(vector_total[:-N_FIGURES] / max(weight, 1e-12), later_loss)


def _bounded_sum(client_vectors: list[Float64], update_norm: float | None) -> Float64:
    vector_total = np.zeros_like(client_vectors[0])
    for flat_vector in client_vectors:
        weight = flat_vector[-N_FIGURES]
        vector_total[:-N_FIGURES] += weight * _own_update(flat_vector, update_norm)
        vector_total[-N_FIGURES:] += flat_vector[-N_FIGURES:]
    return vector_total


def _own_update(flat_vector: Float64, update_norm: float | None) -> Float64:
    """Update of one client, within the bound."""
    parameter_update = flat_vector[:-N_FIGURES] / max(flat_vector[-N_FIGURES], 1e-12)
    if update_norm is None:
        return np.asarray(parameter_update, np.float64)
    norm = max(1e-12, float(np.linalg.norm(parameter_update)))
    return np.asarray(parameter_update * min(1.0, update_norm / norm), np.float64)


def _with(call: ClientCall, **changes: Any) -> ClientCall:
    return ClientCall(
        **{name: changes.get(name, getattr(call, name)) for name in ClientCall.__slots__}
    )


def _extended(
    client_calls: Mapping[int, ClientCall], numbers: Mapping[int, Any], **changes: Any
) -> dict[int, ClientCall]:
    """Calls of some clients with further fields."""
    return {
        client_number: _with(client_calls[client_number], **changes) for client_number in numbers
    }
