"""Scores of later targets without the item context, to which the head adds its own."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from chronotope.contracts.event_log import EventLog, Int64
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import Batch, to_batch
from chronotope.models.history_index import HistoryIndex, index_history
from chronotope.models.item_tables import CandidateView
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.training.prequential import MIN_WIDTH

BATCH_SIZE: Final = 64


@dataclass(frozen=True, slots=True)
class ContextFreeScores:
    """Queries of B targets and their scores without the item context.

    Attributes:
        positions: Positions of the targets, shape (B,).
        batch: The queries, with the rows of their item context.
        view: All items.
        history: Index of the items of the histories.
        item_scores: Logits, shape (B, n_items).
    """

    positions: Int64
    batch: Batch
    view: CandidateView
    history: HistoryIndex
    item_scores: Tensor


@torch.no_grad()
def base_scores(
    net: ChronotopeNet, log: EventLog, positions: Int64, priors: Priors
) -> Iterator[ContextFreeScores]:
    """Score targets batch by batch; the network is in evaluation mode.

    The discovery head is left out: it divides probability, and its share is no additive term.

    Args:
        net: The network; its head of the item context is left out.
        log: The training log, with the item context.
        positions: Targets, at least one.
        priors: Priors counted before them.
    """
    starts = (log.user_start(), log.basket_start())
    n_batches = -(-len(positions) // BATCH_SIZE)
    for batch_positions in np.array_split(positions, n_batches):
        queries = queries_at(
            log,
            batch_positions,
            history_len=net.config.history_len,
            time_given=True,
            start_positions=starts,
        )
        batch = to_batch(queries, max(MIN_WIDTH, queries.item_idx.shape[1]), net.config.context)
        view = net.item_tables.view(priors, None)
        with _without_fitted_heads(net):
            item_scores = net.item_scores(batch, priors)
        yield ContextFreeScores(
            batch_positions, batch, view, index_history(batch, view), item_scores
        )


@contextmanager
def _without_fitted_heads(net: ChronotopeNet) -> Iterator[None]:
    context_head, discovery_head = net.item_context_head, net.discovery_head
    net.item_context_head = None
    try:
        with nullcontext() if discovery_head is None else discovery_head.paused():
            yield
    finally:
        net.item_context_head = context_head
