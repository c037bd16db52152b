"""Serves the orders that a transport puts into a folder, one after the other."""

import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import StoreError
from chronotope.federated.exchange.client_round import ExchangeClient
from chronotope.federated.exchange.message_folder import POLL_S, MessageFolder
from chronotope.federated.exchange.order_messages import FAILURE

_LOG: Final = logging.getLogger(__name__)


def serve_orders(
    exchange_client: ExchangeClient,
    folder: Path,
    n_orders: dict[str, int],
    *,
    idle_s: float | None = None,
) -> None:
    """Answer orders until none comes for a while, or Ctrl-C.

    Args:
        exchange_client: The client.
        folder: Folder of the messages.
        n_orders: Number of orders by outcome, ``answered`` and ``failed``; counted up in place.
        idle_s: Time without an order after which this ends; None: never.
    """
    message_folder = MessageFolder(folder)
    message_folder.clear_answers()
    last_s = time.monotonic()
    with suppress(KeyboardInterrupt):
        while idle_s is None or time.monotonic() - last_s < idle_s:
            if not _answer_next(exchange_client, message_folder, n_orders):
                time.sleep(POLL_S)
                continue
            last_s = time.monotonic()


def _answer_next(
    exchange_client: ExchangeClient, message_folder: MessageFolder, n_orders: dict[str, int]
) -> bool:
    """Whether there was a request."""
    try:
        taken = message_folder.take()
    except StoreError as error:
        _LOG.warning("%s", error)
        return True
    if taken is None:
        return False
    name, request = taken
    answer = exchange_client.respond(request)
    message_folder.answer(name, answer)
    failure = answer.texts.get(FAILURE, "")
    n_orders["failed" if failure else "answered"] += 1
    if failure:
        _LOG.warning("An order failed: %s", failure)
    return True
