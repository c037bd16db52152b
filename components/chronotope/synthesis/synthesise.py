"""Synthesis of a log: split, fit, generate, and measure exactly the log that is shared."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import Catalog, EventLog, Int64
from chronotope.splitting.targets import targets_between
from chronotope.synthesis.config import SynthesisSettings
from chronotope.synthesis.fidelity import (
    distribution_distances,
    model_utility,
    popularity_utility,
)
from chronotope.synthesis.figures import SynthesisFigures
from chronotope.synthesis.privacy import privacy_figures
from chronotope.training.generators import fit_generator

MIN_REAL_USERS: Final = 50
"""Fewer real users do not allow a statement on privacy."""


@dataclass(frozen=True, slots=True)
class SyntheticLog:
    """Generated events in the indices of a catalogue, and their figures."""

    log: EventLog
    figures: SynthesisFigures


@dataclass(frozen=True, slots=True)
class _RealLog:
    """Parts of a real log.

    Attributes:
        cut_s: Start of the test events, UTC seconds.
        fitted: Earlier events of the users that the generator sees.
        held_out: Earlier events of the others.
    """

    cut_s: int
    fitted: EventLog
    held_out: EventLog


def synthesise(
    name: str, log: EventLog, catalog: Catalog, settings: SynthesisSettings
) -> SyntheticLog:
    """Generate users like those of a log, and measure fidelity and privacy of the result.

    The generator sees neither the held-out users nor the test events. Every figure is one of the
    log that is returned.

    Args:
        name: Name of the real log.
        log: The real log.
        catalog: Its catalogue.
        settings: Size, generator and evaluation.

    Raises:
        NotEnoughData: There are too few users, or no later events to test on.
    """
    real = _split(log, settings)
    generator = fit_generator(
        settings.generator,
        real.fitted,
        catalog,
        min_users=settings.min_users,
        seed=settings.seed,
    )
    synthetic = generator.generate(settings.n_users, settings.seed)
    targets = _test_targets(log, real.cut_s, settings)
    utilities = tuple(
        model_utility(training_log, log, catalog, targets, settings, trained_on)
        for training_log, trained_on in ((real.fitted, "real"), (synthetic, "synthetic"))
    )
    privacy = privacy_figures(
        synthetic,
        real.fitted,
        real.held_out,
        max_users=settings.max_attacked_users,
        seed=settings.seed,
    )
    figures = SynthesisFigures(
        dataset=name,
        generator=settings.generator,
        seed=settings.seed,
        n_users=len(np.unique(synthetic.user_idx)),
        n_events=len(synthetic),
        n_fitted_users=len(np.unique(real.fitted.user_idx)),
        n_fitted_events=len(real.fitted),
        n_test_targets=len(targets),
        utilities=(*utilities, popularity_utility(real.fitted, log, catalog, targets)),
        utility_ratio=utilities[1].ndcg_10 / max(utilities[0].ndcg_10, 1e-9),
        distances=distribution_distances(synthetic, real.fitted, real.held_out, catalog),
        nearness=privacy.nearness,
        attacks=privacy.attacks,
    )
    return SyntheticLog(synthetic, figures)


def _test_targets(log: EventLog, cut_s: int, settings: SynthesisSettings) -> Int64:
    """Positions of later events.

    Raises:
        NotEnoughData: There are none.
    """
    end_s = int(log.occurred_s.max()) + 1
    targets = targets_between(log, cut_s, end_s, max_targets=settings.max_test_targets)
    if not len(targets):
        raise NotEnoughData(
            "There are no later events to test on",
            received=f"{len(log)} events, test share {settings.test_share}",
            way_out="Raise test_share, or bring a longer log",
        )
    return targets


def _split(log: EventLog, settings: SynthesisSettings) -> _RealLog:
    """Cut a log in time, and its users into those of the fit and the held-out ones.

    Raises:
        NotEnoughData: There are too few users.
    """
    cut_s = int(np.quantile(log.occurred_s, 1 - settings.test_share))
    known = log.take((log.occurred_s < cut_s) & (log.user_idx > 0) & (log.item_idx > 0))
    known = replace(known, context={})
    user_list = np.unique(known.user_idx)
    if len(user_list) < MIN_REAL_USERS:
        raise NotEnoughData(
            f"A synthetic log needs at least {MIN_REAL_USERS} users",
            received=f"{len(user_list)} users",
            way_out="Bring a log of more users: few people cannot hide among each other",
        )
    user_order = np.random.default_rng([settings.seed, 1]).permutation(user_list)
    is_held_out = np.isin(
        known.user_idx, user_order[: int(settings.held_out_users * len(user_list))]
    )
    return _RealLog(cut_s, known.take(~is_held_out), known.take(is_held_out))
