"""Dataset YAML files, readers of their tables, and the generator of a simulated city."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chronotope.api.example_data import LogAndCatalog


def load(
    name: str, *, data_dir: Path | None = None, n_events: int | None = None
) -> "LogAndCatalog":
    """Log and catalogue of a dataset; part of the Python API, imported when it is called.

    Args:
        name: ``simulated_city``, or the name of a YAML file in ``conf/datasets``.
        data_dir: Folder of the data files; replaces that of the YAML.
        n_events: Events of the simulated city, 20,000 by default.

    Raises:
        ConfigError: There is no such dataset.
        SourceError: Its files are missing.
    """
    from chronotope.api.example_data import load_example

    return load_example(name, data_dir=data_dir, n_events=n_events)
