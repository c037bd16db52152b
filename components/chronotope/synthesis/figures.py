"""Figures of a synthetic log, as its report and its JSON file hold them."""

from pydantic import BaseModel, ConfigDict

from chronotope.training.generators import GeneratorKind

MIN_UTILITY = 0.85
"""Wanted NDCG@10 of training on synthetic events, relative to real ones."""

MAX_ATTACK_AUC = 0.55
"""Highest wanted AUC of a membership attack; .5 is chance."""


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Distance(_Figures):
    """Distance between a distribution in the synthetic and in the real log.

    Attributes:
        name: What is distributed.
        synthetic: Total variation distance between synthetic and real users, 0 to 1.
        real: That between held-out and other real users: the distance of chance.
    """

    name: str
    synthetic: float
    real: float


class Utility(_Figures):
    """Metrics on later real events of a model trained on one log.

    Attributes:
        trained_on: The log: real, synthetic, or popularity of the real log.
        acc_1, ndcg_10, mrr: Metrics over the full catalogue, request time given.
    """

    trained_on: str
    acc_1: float
    ndcg_10: float
    mrr: float


class Attack(_Figures):
    """One membership attack.

    Attributes:
        name: What the attacker compares.
        auc: Probability that a user of the fit looks more like one than a held-out user does.
        low, high: 95 % bootstrap interval over users.
    """

    name: str
    auc: float
    low: float
    high: float


class Nearness(_Figures):
    """Distances of synthetic users to the nearest real ones, 0 to 1.

    Attributes:
        to_fitted: Median distance to the nearest user of the fit.
        to_held_out: Median distance to the nearest of as many held-out users.
        share_nearer_to_fitted: Share of synthetic users that are nearer to a user of the fit; .5 is
            chance.
        n_copies: Synthetic users whose events are those of a user of the fit.
    """

    to_fitted: float
    to_held_out: float
    share_nearer_to_fitted: float
    n_copies: int


class SynthesisFigures(_Figures):
    """All figures of one synthetic log.

    Attributes:
        dataset: Name of the real log.
        generator: What generated the log.
        seed: Seed.
        n_users, n_events: Size of the synthetic log.
        n_fitted_users, n_fitted_events: Size of what the generator was fitted on.
        n_test_targets: Later real events that the models were tested on.
        utilities: Models by what they were trained on.
        utility_ratio: NDCG@10 of synthetic over real training.
        distances: Distances of distributions.
        nearness: Distances to the nearest real user.
        attacks: Membership attacks.
    """

    dataset: str
    generator: GeneratorKind
    seed: int
    n_users: int
    n_events: int
    n_fitted_users: int
    n_fitted_events: int
    n_test_targets: int
    utilities: tuple[Utility, ...]
    utility_ratio: float
    distances: tuple[Distance, ...]
    nearness: Nearness
    attacks: tuple[Attack, ...]

    @property
    def worst_attack(self) -> Attack:
        """The attack with the highest AUC."""
        return max(self.attacks, key=lambda attack: attack.auc)
