"""Weights are fitted to what the whole catalogue's softmax says, and of equal columns one stays."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from chronotope.models.config import ModelConfig
from chronotope.models.item_context import ItemContextHead
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from chronotope.training.config import TrainingConfig
from chronotope.training.item_context import fit_item_context
from chronotope.training.item_context.base_scores import base_scores
from chronotope.training.item_context.context_rows import ContextRows
from chronotope.training.item_context.later_targets import LaterTargets, is_discovery
from chronotope.training.prequential import PrequentialRound
from tests.models.item_context.planted import log_of

CONFIG = ModelConfig(item_context=("promo", "noise"), history_len=16, kernel_len=8, n_hidden=4)


def untrained() -> tuple[ChronotopeNet, ItemContextHead]:
    torch.manual_seed(0)
    net = ChronotopeNet(CONFIG, log_of(-60)[1]).eval()
    assert net.item_context_head is not None
    return net, net.item_context_head


@pytest.mark.parametrize("new_only", [False, True], ids=["all", "new"])
def test_losses_differ_as_those_of_the_whole_catalogue(*, new_only: bool) -> None:
    log, catalog = log_of(-60)
    net, head = untrained()
    priors = count_priors(log, catalog)
    positions = np.arange(5, len(log), 53)
    if new_only:
        positions = positions[is_discovery(log, positions)]
    torch.nn.init.normal_(head.level_weights)
    torch.nn.init.normal_(head.lift_weights)
    for scored in base_scores(net, log, positions, priors):
        everything = torch.ones(len(scored.positions), dtype=torch.bool)
        rows = ContextRows.of_batch(scored, log, everything, new_only=new_only)
        lift = head.row_lift(rows.item_idx[None], rows.levels[None], priors.context_lift)[0]
        row_scores = head.row_scores(rows.levels, rows.is_owned, lift)
        found = rows.losses(row_scores) - rows.losses(torch.zeros_like(row_scores))
        context_scores = head(scored.batch, priors, scored.view, scored.history)
        target = torch.from_numpy(log.item_idx[scored.positions]).long()[:, None]
        expected = torch.zeros(len(target))
        for sign, item_scores in (
            (1, scored.item_scores + context_scores),
            (-1, scored.item_scores),
        ):
            ranked = item_scores.clone()
            if new_only:
                ranked = ranked.scatter(1, scored.history.column, -torch.inf)
            ranked[:, 0] = -torch.inf
            expected -= sign * ranked.log_softmax(1).gather(1, target)[:, 0]
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_of_two_equal_columns_one_stays_at_least() -> None:
    log, catalog = log_of(-60)
    index = log.item_context
    assert index is not None
    levels = index.levels.copy()
    levels[:, 1] = np.where(levels[:, 0] > 0, 2, 0)  # the noise says what the promotion says
    log = replace(log, item_context=replace(index, levels=levels))
    net, _ = untrained()
    later = PrequentialRound(np.flatnonzero(log.occurred_s > 100_000), count_priors(log, catalog))
    worth = fit_item_context(net, log, catalog, later, TrainingConfig(item_context_targets=200))
    assert [column.helps for column in worth].count(True) >= 1
    assert net.config.item_context


def test_without_targets_the_item_context_is_left_out() -> None:
    log, catalog = log_of(-60)
    net, _ = untrained()
    later = PrequentialRound(np.arange(100, 200), count_priors(log, catalog))
    config = TrainingConfig(item_context_targets=0)
    assert fit_item_context(net, log, catalog, later, config) == ()
    assert net.item_context_head is None
    assert net.config.item_context == ()


def test_discoveries_are_drawn_on_their_own() -> None:
    log, _ = log_of(-60)
    positions = np.arange(len(log))
    targets = LaterTargets.draw(log, positions, 50, seed=0)
    assert targets.is_sampled.sum() == targets.is_discovery.sum() == 50
    is_new = is_discovery(log, targets.positions)
    assert is_new[targets.is_discovery].all()
    assert not is_new[targets.is_sampled].all()
