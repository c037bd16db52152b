"""Aggregation by another program: orders go into a folder, averages and sums come back."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chronotope.contracts.errors import ArtifactError, EngineError
from chronotope.contracts.event_log import Float64
from chronotope.federated.aggregation import Answers
from chronotope.federated.clients.client_data import load_catalogue
from chronotope.federated.clients.local_training import new_network, shared_names
from chronotope.federated.clients.orders import (
    CATALOGUE_FILE,
    CountOrder,
    FederationSpec,
    Order,
    TrainOrder,
    names_key,
)
from chronotope.federated.exchange.message_folder import Message, MessageFolder, NamedArrays
from chronotope.federated.exchange.order_messages import (
    AVERAGED,
    COUNTS,
    FAILURE,
    FIXED,
    METRICS,
    ORDER,
    OrderText,
    RoundMetrics,
    flat_parameters,
    named_parameters,
    packed_files,
    with_prefix,
    without_prefix,
)
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.runtime.stored_arrays import load_arrays

TIMEOUT: Final = "timeout_s"
"""Text of a request: time for the answers of the clients, seconds."""

N_CLIENTS: Final = "n_clients"
"""Text of a request: clients that the transport waits for."""

FINISHED: Final = "finished"
"""Text of the last request, which has no answer: "" or why the federation failed."""

SUMMARY: Final = "summary"
"""Text of an answer of the transport: a ``TransportSummary`` as JSON."""

_GRACE_S: Final = 60.0
"""Time of the transport itself beside that of the clients."""


_END_S: Final = 5.0
"""Time in which a program that serves the folder takes the last request."""


class TransportSummary(BaseModel):
    """What a transport says about an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clients: tuple[int, ...] = Field(description="Numbers of the clients whose answers count")
    failures: dict[str, str] = Field(
        default_factory=dict, description="Why others do not, by client"
    )
    n_bytes: int = Field(0, ge=0, description="Size of the clients' answers")
    strategy: str = Field("", description="Name and version of the aggregation")


class ExchangeAggregator:
    """Asks the clients through another program, which averages parameters and sums counts.

    Attributes:
        federation_spec: The federation.
        excluded: Empty: single answers are not seen here.
        strategy: Aggregation by its own account; "" before the first answer.
    """

    def __init__(self, federation_spec: FederationSpec, message_folder: MessageFolder) -> None:
        """Store references."""
        self.federation_spec = federation_spec
        self.excluded: set[int] = set()
        self.strategy = ""
        self._messages = message_folder

    def ask(self, client_order: Order) -> Answers:
        """Sum or average of the clients' answers to an order.

        Args:
            client_order: What to do.

        Raises:
            EngineError: Too few clients answer, or the program does not.
        """
        arrays = packed_files(self.federation_spec.broadcast)
        if isinstance(client_order, TrainOrder):
            arrays |= self._parameters(client_order)
        timeout_s = self.federation_spec.federation.timeout_s
        texts = {
            ORDER: self._order_text(client_order).model_dump_json(),
            TIMEOUT: f"{timeout_s:g}",
            N_CLIENTS: str(self.federation_spec.n_clients),
        }
        answer = self._messages.ask(
            Message(texts, arrays), timeout_s=timeout_s, answer_s=timeout_s + _GRACE_S
        )
        summary = self._checked_summary(answer)
        self.strategy = summary.strategy
        vector_total = (
            np.asarray(answer.arrays[COUNTS], np.float64)
            if isinstance(client_order, CountOrder)
            else self._update_sum(client_order, arrays, answer)
        )
        failures = dict(enumerate(summary.failures.values()))
        return Answers(vector_total, {}, summary.clients, failures, summary.n_bytes)

    def _order_text(self, client_order: Order) -> OrderText:
        federation_spec = self.federation_spec
        details = (
            {"kind": "count", "section_name": client_order.section_name}
            if isinstance(client_order, CountOrder)
            else {
                "kind": "train",
                "stage": client_order.stage,
                "round_number": client_order.round_number,
                "rate_share": client_order.rate_share,
            }
        )
        return OrderText.model_validate(
            {
                "name": client_order.name,
                "dataset": federation_spec.dataset,
                "time_bins": federation_spec.time_bins,
                "model": federation_spec.model,
                "training": federation_spec.training,
                "federation": federation_spec.federation,
                "n_clients": federation_spec.n_clients,
                **details,
            }
        )

    def _parameters(self, train_order: TrainOrder) -> NamedArrays:
        """Parameters of the round's start by name: those that move, and those that do not."""
        network = _network(self.federation_spec)
        vectors = load_arrays(train_order.parameters)
        averaged_key = names_key(train_order.stage)
        arrays: NamedArrays = {}
        for key in ("network", "discovery"):
            prefix = AVERAGED if key == averaged_key else FIXED
            names = shared_names(network, is_discovery=key == "discovery")
            arrays |= with_prefix(prefix, named_parameters(network, names, vectors[key]))
        return arrays

    def _update_sum(self, train_order: TrainOrder, arrays: NamedArrays, answer: Message) -> Float64:
        """Update times the sum of the weights, and the figures of all clients."""
        network = _network(self.federation_spec)
        names = shared_names(network, is_discovery=train_order.stage == "discovery")
        start, averaged = (
            flat_parameters(network, names, without_prefix(AVERAGED, message_arrays))
            for message_arrays in (arrays, answer.arrays)
        )
        metrics = RoundMetrics.model_validate_json(answer.texts[METRICS])
        figures = [metrics.n_targets, metrics.later_loss_sum, metrics.n_later]
        return np.concatenate([metrics.n_targets * (averaged - start), figures])

    def _checked_summary(self, answer: Message) -> TransportSummary:
        """What the transport says, if enough clients answered.

        Raises:
            ArtifactError: The answer is not that of a transport.
            EngineError: Too few clients answered.
        """
        try:
            summary = TransportSummary.model_validate_json(answer.texts.get(SUMMARY, ""))
        except ValidationError as error:
            raise ArtifactError(
                "An answer of the transport cannot be read",
                received=error.errors()[0]["msg"],
                way_out="Use the Flower app of this version of Chronotope",
            ) from error
        federation_spec = self.federation_spec
        needed = federation_spec.federation.threshold(federation_spec.n_clients)
        if len(summary.clients) < needed or FAILURE in answer.texts:
            reasons = [f"client {number}: {why}" for number, why in summary.failures.items()]
            reasons += [answer.texts[FAILURE]] if FAILURE in answer.texts else []
            raise EngineError(
                "Too few clients answered",
                received=f"{len(summary.clients)} of {federation_spec.n_clients}, needed {needed}"
                + "".join(f"; {reason}" for reason in reasons),
                way_out="Start the run again, which continues, or leave broken clients out",
            )
        return summary


@contextmanager
def open_exchange(federation_spec: FederationSpec, folder: Path) -> Iterator[ExchangeAggregator]:
    """Context manager of an aggregator; at the end, the other program is told.

    Args:
        federation_spec: The federation.
        folder: Folder of the messages.
    """
    message_folder = MessageFolder(folder)
    message_folder.clear_requests()
    message_folder.clear_answers()
    failure = "The run was stopped"
    try:
        yield ExchangeAggregator(federation_spec, message_folder)
        failure = ""
    except Exception as error:
        failure = type(error).__name__
        raise
    finally:
        message_folder.tell(Message({FINISHED: failure}), timeout_s=_END_S)


def _network(federation_spec: FederationSpec) -> ChronotopeNet:
    """Network whose parameters have names and shapes; its values are not used."""
    return _network_of(federation_spec.broadcast, federation_spec.model.model_dump_json())


@lru_cache(maxsize=1)
def _network_of(broadcast: Path, model_json: str) -> ChronotopeNet:
    model = ModelConfig.model_validate_json(model_json)
    return new_network(model, load_catalogue(broadcast / CATALOGUE_FILE), 0)
