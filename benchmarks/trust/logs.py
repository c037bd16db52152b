"""Logs of the benchmark, with the attributes of the users where the data set has them."""

from dataclasses import replace
from pathlib import Path

from benchmarks.data_sets import data_root, load_data_set
from benchmarks.synthesis import read_plain_log
from chronotope.contracts.user_attributes import UserAttributes
from chronotope.datasets.readers import read_users
from chronotope.training.pretraining import PretrainingLog


def read_task_log(name: str, option: Path | None, work: Path) -> PretrainingLog:
    """Log and catalogue of a data set.

    Args:
        name: Name of the data set.
        option: Value of ``--data``.
        work: Folder of the feature snapshots.
    """
    log, catalog = read_plain_log(name, data_root(option), work)
    spec = load_data_set(name, option)
    if spec.users is None:
        return PretrainingLog(log, catalog)
    attributes = UserAttributes.from_table(read_users(spec), catalog.users)
    return PretrainingLog(log, replace(catalog, user_attributes=attributes))
