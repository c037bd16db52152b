"""Baselines: simple recommenders that every trained model has to beat."""

from chronotope.models.baselines.all_baselines import baselines
from chronotope.models.baselines.ease import Ease, EaseConfig
from chronotope.models.baselines.gfcf import GfCf, GfCfConfig
from chronotope.models.baselines.markov import FirstOrderMarkov
from chronotope.models.baselines.popularity import Popularity, PopularityLastDays
from chronotope.models.baselines.tifu_knn import TifuKnn, TifuKnnConfig
from chronotope.models.baselines.up_cf import UpCf, UpCfConfig
from chronotope.models.baselines.user_counts import UserCounts

__all__ = [
    "Ease",
    "EaseConfig",
    "FirstOrderMarkov",
    "GfCf",
    "GfCfConfig",
    "Popularity",
    "PopularityLastDays",
    "TifuKnn",
    "TifuKnnConfig",
    "UpCf",
    "UpCfConfig",
    "UserCounts",
    "baselines",
]
