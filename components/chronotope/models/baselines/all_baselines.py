"""The baselines of every evaluation, in the order of the tables."""

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.protocols import Recommender
from chronotope.models.baselines.ease import Ease
from chronotope.models.baselines.markov import FirstOrderMarkov
from chronotope.models.baselines.popularity import Popularity, PopularityLastDays
from chronotope.models.baselines.tifu_knn import TifuKnn
from chronotope.models.baselines.up_cf import UpCf
from chronotope.models.baselines.user_counts import UserCounts
from chronotope.runtime.plugins.installed_recommenders import installed_recommenders


def baselines(*, has_baskets: bool = True) -> list[Recommender]:
    """Fresh, unfitted models that a trained one has to beat, in the order tables show them.

    Args:
        has_baskets: Whether the log has baskets; without them, what recommends baskets is
            left out.

    Returns:
        Popularity, popularity of the last 7 days, user counts, first-order Markov and EASE; for
        baskets TIFU-KNN and UP-CF, too; then the recommenders of installed packages.

    Raises:
        ConfigError: An installed recommender is invalid, or has the name of a baseline.
    """
    any_log: list[Recommender] = [
        Popularity(),
        PopularityLastDays(days=7),
        UserCounts(),
        FirstOrderMarkov(),
        Ease(),
    ]
    basket_models: list[Recommender] = [TifuKnn(), UpCf()]
    custom_models = installed_recommenders()
    own_names = [model.name for model in (*any_log, *basket_models)]
    for model in custom_models:
        if model.name in own_names:
            raise ConfigError(
                "An installed recommender has the name of a baseline",
                received=model.name,
                way_out="Change its property name, or uninstall its package",
            )
    return [*any_log, *(basket_models if has_baskets else []), *custom_models]
