"""Lake of a dataset with the privacy settings of its YAML."""

from pathlib import Path

from chronotope.datasets.spec import DatasetSpec
from chronotope.erasure.opt_out import read_opt_out_file
from chronotope.lake import Lake
from chronotope.lake.privacy import record_privacy
from chronotope.runtime.workspace import Workspace
from flows.privacy.secret_keys import provide_keys


def open_private_lake(dataset_spec: DatasetSpec, root: Path) -> Lake:
    """Lake of a dataset, with the keys, the settings and the opt-out file of its YAML.

    Args:
        dataset_spec: The dataset.
        root: Project root.

    Raises:
        ConfigError: The keys of the pseudonyms are missing or wrong, or the opt-out file cannot be
            read.
    """
    provide_keys(dataset_spec.privacy.pseudonyms)
    lake = Lake(Workspace(root).lake(dataset_spec.name))
    record_privacy(lake, dataset_spec.privacy, dataset_spec.name)
    read_opt_out_file(lake, dataset_spec)
    return lake
