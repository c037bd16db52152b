"""Fitting of a generator by its name."""

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.training.generators.event_generator import (
    MIN_USERS,
    EventGenerator,
    GeneratorKind,
)
from chronotope.training.generators.markov_renewal import MarkovRenewal


def fit_generator(
    kind: GeneratorKind,
    log: EventLog,
    catalog: Catalog,
    *,
    min_users: int = MIN_USERS,
    seed: int = 0,
) -> EventGenerator:
    """A generator fitted on a log.

    Args:
        kind: Markov-renewal process, or adversarially trained network.
        log: The log.
        catalog: Its catalogue.
        min_users: Items of fewer users are never generated, nor are transitions.
        seed: Seed of the fit.
    """
    if kind == "markov_renewal":
        return MarkovRenewal.fit(log, catalog, min_users=min_users, seed=seed)
    from chronotope.training.generators.sequence_gan import SequenceGan

    return SequenceGan.fit(log, catalog, min_users=min_users, seed=seed)
