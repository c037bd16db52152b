"""Targets of generated users, beside the real ones of a training.

The generator is fitted on the events before the validation targets. A generated target is predicted
with the priors of the real log at its time: generated events are never counted.
"""

from dataclasses import replace

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog, Int64
from chronotope.training.augmentation.config import SPARSE_EVENTS, AugmentationConfig
from chronotope.training.generators import GeneratorKind, fit_generator
from chronotope.training.prequential import PrequentialRound


def generated_log(
    config: AugmentationConfig, log: EventLog, catalog: Catalog, seed: int
) -> EventLog:
    """Users of a generator, as many as the log has; context columns are unknown.

    Args:
        config: Which generator.
        log: Events before the validation targets.
        catalog: Its catalogue.
        seed: Seed of fit and users.
    """
    kind: GeneratorKind = "gan" if config.kind == "gan" else "markov_renewal"
    generator = fit_generator(kind, log, catalog, seed=seed)
    generated_events = generator.generate(len(np.unique(log.user_idx)), seed)
    unknown = np.full(len(generated_events), np.nan, np.float32)
    return replace(generated_events, context={name: unknown.copy() for name in log.context})


def generated_rounds(
    config: AugmentationConfig,
    log: EventLog,
    generated_events: EventLog,
    real_rounds: list[PrequentialRound],
    seed: int,
) -> list[PrequentialRound]:
    """Generated targets of each real round's time, with its priors.

    Args:
        config: Amount, and whether only sparse histories count.
        log: The real log.
        generated_events: Result of ``generated_log``.
        real_rounds: Targets of the real log.
        seed: Seed of the drawn targets.
    """
    random_generator = np.random.default_rng([seed, 1])
    basket, start_columns = generated_events.basket_start(), generated_events.user_start()
    n_past = basket - start_columns
    is_target = n_past > 0
    if config.sparse_only:
        is_target &= n_past <= SPARSE_EVENTS
    rounds = []
    for real_batches in real_rounds:
        times = log.occurred_s[real_batches.positions]
        is_inside = (generated_events.occurred_s >= times.min()) & (
            generated_events.occurred_s <= times.max()
        )
        positions: Int64 = np.flatnonzero(is_target & is_inside)
        n_wanted = min(int(config.amount * len(real_batches.positions)), len(positions))
        if n_wanted:
            chosen = np.sort(random_generator.choice(positions, n_wanted, replace=False))
            rounds.append(PrequentialRound(chosen, real_batches.priors))
    return rounds
