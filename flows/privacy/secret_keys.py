"""Keys of pseudonyms from Prefect Secret blocks, which only flows and commands can read."""

import os
from pathlib import Path

from chronotope.lake import Lake
from chronotope.lake.privacy import read_privacy
from chronotope.privacy import PseudonymSettings
from chronotope.runtime.workspace import Workspace


def provide_lake_keys(root: Path, dataset: str) -> None:
    """Read the keys of a lake's pseudonyms from its Secret block, where it names one.

    Args:
        root: Project root.
        dataset: Name of the dataset.
    """
    provide_keys(read_privacy(Lake(Workspace(root).lake(dataset))).settings.pseudonyms)


def provide_keys(pseudonyms: PseudonymSettings | None) -> None:
    """Put the value of a Secret block into the environment, unless its variable is set.

    Processes that a flow starts inherit it. It is never written.

    Args:
        pseudonyms: Settings of the pseudonyms; None without any.
    """
    if pseudonyms is None or pseudonyms.block is None or os.environ.get(pseudonyms.variable):
        return
    from prefect.blocks.system import Secret

    secret = Secret.load(pseudonyms.block)
    os.environ[pseudonyms.variable] = str(secret.get())  # type: ignore[union-attr]
