"""The baselines of every evaluation, in the order of the tables."""

from chronotope.contracts.protocols import Recommender
from chronotope.models.baselines.ease import Ease, EaseConfig
from chronotope.models.baselines.markov import FirstOrderMarkov
from chronotope.models.baselines.popularity import Popularity, PopularityLastDays
from chronotope.models.baselines.user_counts import UserCounts


def baselines(ease: EaseConfig | None = None) -> list[Recommender]:
    """Fresh, unfitted baselines in the order tables show them.

    Args:
        ease: Parameters of the only baseline that has any; its defaults when None.

    Returns:
        Popularity, popularity of the last 7 days, user counts, first-order Markov
        and EASE.
    """
    return [
        Popularity(),
        PopularityLastDays(days=7),
        UserCounts(),
        FirstOrderMarkov(),
        Ease(ease or EaseConfig()),
    ]
