"""The baselines of every evaluation, in the order of the tables."""

from chronotope.contracts.protocols import Recommender
from chronotope.models.baselines.ease import Ease
from chronotope.models.baselines.markov import FirstOrderMarkov
from chronotope.models.baselines.popularity import Popularity, PopularityLastDays
from chronotope.models.baselines.tifu_knn import TifuKnn
from chronotope.models.baselines.up_cf import UpCf
from chronotope.models.baselines.user_counts import UserCounts


def baselines(*, has_baskets: bool = True) -> list[Recommender]:
    """Fresh, unfitted baselines in the order tables show them.

    Args:
        has_baskets: Whether the log has baskets; without them, what recommends baskets is
            left out.

    Returns:
        Popularity, popularity of the last 7 days, user counts, first-order Markov and EASE; for
        baskets TIFU-KNN and UP-CF, too.
    """
    any_log: list[Recommender] = [
        Popularity(),
        PopularityLastDays(days=7),
        UserCounts(),
        FirstOrderMarkov(),
        Ease(),
    ]
    return [*any_log, TifuKnn(), UpCf()] if has_baskets else any_log
