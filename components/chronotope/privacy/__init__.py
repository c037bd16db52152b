"""Privacy settings of a dataset, keyed pseudonyms of its users, and coarser places and times."""

from chronotope.privacy.coarsening import coarse_coordinates, coarse_times
from chronotope.privacy.pseudonyms import PseudonymKeys, is_pseudonym, read_keys, rotated_event_ids
from chronotope.privacy.settings import ColumnClass, PrivacySettings, PseudonymSettings

__all__ = [
    "ColumnClass",
    "PrivacySettings",
    "PseudonymKeys",
    "PseudonymSettings",
    "coarse_coordinates",
    "coarse_times",
    "is_pseudonym",
    "read_keys",
    "rotated_event_ids",
]
