"""A transport in this process: what a Flower app does, without Flower."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import numpy as np

from chronotope.federated.exchange.client_round import ExchangeClient
from chronotope.federated.exchange.exchange_aggregator import FINISHED, SUMMARY
from chronotope.federated.exchange.message_folder import Message, MessageFolder
from chronotope.federated.exchange.order_messages import COUNTS, FAILURE, METRICS


class Transport:
    """Answers orders with weighted means and sums over some clients.

    Attributes:
        orders: Orders as the coordinator wrote them.
        ending: Text of the last request; None before it.
    """

    def __init__(self, folder: Path, clients: list[ExchangeClient]) -> None:
        self.orders: list[Message] = []
        self.ending: str | None = None
        self._messages, self._clients = MessageFolder(folder), clients

    def serve(self) -> None:
        """Answer until the coordinator has finished."""
        while self.ending is None:
            taken = self._messages.take()
            if taken is None:
                sleep(0.01)
                continue
            name, request = taken
            if FINISHED in request.texts:
                self.ending = request.texts[FINISHED]
                return
            self.orders.append(request)
            self._messages.answer(name, self._combined(request))

    def _combined(self, request: Message) -> Message:
        answers = [client.respond(request) for client in self._clients]
        good = {n: a for n, a in enumerate(answers) if FAILURE not in a.texts}
        failures = {str(n): a.texts[FAILURE] for n, a in enumerate(answers) if n not in good}
        summary = {"clients": list(good), "failures": failures, "strategy": "mean of a test"}
        texts = {SUMMARY: json.dumps(summary)}
        if not good:
            return Message(texts | {FAILURE: "no client has answered"})
        if any(COUNTS in answer.arrays for answer in good.values()):
            counts = np.sum([answer.arrays[COUNTS] for answer in good.values()], axis=0)
            return Message(texts, {COUNTS: counts})
        metrics = [json.loads(answer.texts[METRICS]) for answer in good.values()]
        sums = {key: sum(row[key] for row in metrics) for key in metrics[0]}
        weights = [row["n_targets"] / sums["n_targets"] for row in metrics]
        parts = [answer.arrays for answer in good.values()]
        averaged = {
            name: np.sum([w * p[name] for w, p in zip(weights, parts, strict=True)], axis=0)
            for name in parts[0]
        }
        return Message(texts | {METRICS: json.dumps(sums)}, averaged)


@contextmanager
def transport(folder: Path, clients: list[ExchangeClient]) -> Iterator[Transport]:
    """A transport in a thread; the block has to end the federation."""
    running = Transport(folder, clients)
    thread = threading.Thread(target=running.serve, daemon=True)
    thread.start()
    yield running
    thread.join(timeout=10.0)
    assert not thread.is_alive()
