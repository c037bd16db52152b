"""Logs to try things on: a simulated city, and datasets that have a YAML file."""

from pathlib import Path
from typing import Final, NamedTuple

import chronotope
from chronotope.api.catalog import ItemCatalog
from chronotope.api.logs.log import Log
from chronotope.contracts.errors import ConfigError
from chronotope.datasets.city import CityConfig
from chronotope.datasets.loading import CONF_DIR, dataset_names, load_spec
from chronotope.datasets.readers import read_items, read_users
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion.source_batches import read_batches

SIMULATED_CITY: Final = "simulated_city"
"""Dataset that is generated, so that it needs no file."""

_BATCH_ROWS: Final = 500_000


class LogAndCatalog(NamedTuple):
    """A log, and the catalogue of its items; None if it has none."""

    log: Log
    catalog: ItemCatalog | None


def load_example(
    name: str, *, data_dir: Path | None = None, n_events: int | None = None
) -> LogAndCatalog:
    """Log and catalogue of a dataset, through the checks of ``chronotope ingest``.

    Args:
        name: ``simulated_city``, or the name of a YAML file in ``conf/datasets``.
        data_dir: Folder of the data files; replaces that of the YAML.
        n_events: Events of the simulated city, 20,000 by default.

    Raises:
        ConfigError: There is no such dataset.
        SourceError: Its files are missing.
    """
    dataset_spec = (
        _simulated(n_events or 20_000) if name == SIMULATED_CITY else _spec(name, data_dir)
    )
    ingest_batches = read_batches(dataset_spec, _BATCH_ROWS)
    item_rows, user_rows = read_items(dataset_spec), read_users(dataset_spec)
    item_catalog = ItemCatalog(item_rows) if len(item_rows) else None
    example_log = Log.of_batches(
        dataset_spec, ingest_batches, catalog=item_catalog, users=user_rows
    )
    return LogAndCatalog(example_log, item_catalog)


def _spec(name: str, data_dir: Path | None) -> DatasetSpec:
    """Specification by the YAML of the working folder, else of a checkout."""
    checkout_dir = Path(chronotope.__file__).parents[2] / CONF_DIR
    conf_dirs = [
        conf_dir for conf_dir in (CONF_DIR, checkout_dir) if name in dataset_names(conf_dir)
    ]
    if not conf_dirs:
        known_names = [SIMULATED_CITY, *dataset_names(CONF_DIR), *dataset_names(checkout_dir)]
        raise ConfigError(
            "No such dataset",
            received=name,
            way_out=f"Known are {', '.join(dict.fromkeys(known_names))}; for your own data use "
            "Log.from_frame",
        )
    return load_spec(name, conf_dir=conf_dirs[0], data_dir=data_dir)


def _simulated(n_events: int) -> DatasetSpec:
    """A city of a size that suits a notebook: 66 events a user."""
    n_users = max(50, n_events // 66)
    city_config = CityConfig(
        n_events=n_events, n_users=n_users, n_items=min(1_000, n_users), days=90
    )
    return DatasetSpec(
        name=SIMULATED_CITY,
        description="Check-ins in a simulated city",
        licence="CC0-1.0",
        event_type="check_in",
        items_are_places=True,
        city=city_config,
    )
