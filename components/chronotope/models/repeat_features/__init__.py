"""Features of the items of a user's history, which the repeat head reads."""

from chronotope.models.repeat_features.item_features import ItemFeatures
from chronotope.models.repeat_features.return_features import N_RETURN_FEATURES, return_features

__all__ = ["N_RETURN_FEATURES", "ItemFeatures", "return_features"]
