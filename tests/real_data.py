"""Where real data lie for the tests; those that need them are skipped without."""

import os
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[1]


def find_data_root() -> Path:
    """Folder that CHRONOTOPE_DATA names, else data/external, else one beside the project."""
    if named := os.environ.get("CHRONOTOPE_DATA"):
        return Path(named)
    inside, beside = PROJECT / "data" / "external", PROJECT.parent / "shared" / "data"
    return beside if beside.is_dir() and not inside.is_dir() else inside


DATA_ROOT: Final = find_data_root()
CHECK_INS: Final = DATA_ROOT / "foursquare_nyc"
MOVIELENS: Final = DATA_ROOT / "movielens_100k"
