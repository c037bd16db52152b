"""One folder a training: the same data and settings resume, others start anew."""

import hashlib
import json
from pathlib import Path
from typing import Final

from chronotope.pipelines.holdout import frozen_folds
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.durable_files import read_json, write_json, write_text
from chronotope.runtime.private_files import private_folder

_SETTINGS: Final = "settings.json"
_NETWORK: Final = "network.txt"

_WAY_OUT: Final = "Train again with the settings that are wanted, or choose another version"

_WHERE: Final = {"root", "engine"}
"""Settings that say where the work is done, and not what comes out."""


def training_run_dir(
    features: Path, dataset: str, settings: TrainSettings, *, purpose: str = ""
) -> Path:
    """Folder of the training of a snapshot under some settings.

    Args:
        features: Feature snapshot; its name is its digest.
        dataset: Name of the dataset.
        settings: Everything the training was told; where it is done does not matter.
        purpose: What sets it apart from a training from scratch, such as whose successor
            it trains.
    """
    told = f"{_told(settings)}{purpose}"
    digest = hashlib.sha256(f"{features.name}\n{told}".encode()).hexdigest()[:12]
    return settings.workspace.runs(dataset) / digest


def lineage(features: Path, settings: TrainSettings, run: Path) -> dict[str, str]:
    """Digests that say what a training was made of, for its tags.

    Args:
        features: Feature snapshot; its name is its digest.
        settings: Everything the training was told.
        run: Its folder, with the frozen folds.
    """
    return {
        "training": run.name,
        "network": network_source(run),
        "features": features.name,
        "folds": frozen_folds(run).digest,
        "settings": hashlib.sha256(_told(settings).encode()).hexdigest()[:16],
    }


def write_settings(run: Path, settings: TrainSettings) -> None:
    """Keep what a training was told beside what it did, for its successors."""
    private_folder(run)
    write_json(run / _SETTINGS, json.loads(_told(settings)))


def read_settings(run: Path, root: Path) -> TrainSettings:
    """What a training was told, below another root; the defaults if nothing is kept.

    Args:
        run: Folder of the training.
        root: Project root.

    Raises:
        StoreError: The file is damaged.
    """
    path = run / _SETTINGS
    told = {}
    if path.exists():
        told = read_json(path, what="The settings of a training", way_out=_WAY_OUT)
    return TrainSettings.model_validate({**told, "root": root})


def write_network_source(run: Path, trained_in: str) -> None:
    """Note that a run's network was trained in another run."""
    private_folder(run)
    write_text(run / _NETWORK, trained_in)


def network_source(run: Path) -> str:
    """Name of the run that trained a run's network; its own unless it took one over."""
    path = run / _NETWORK
    return path.read_text(encoding="utf-8") if path.exists() else run.name


def _told(settings: TrainSettings) -> str:
    return settings.model_dump_json(exclude=_WHERE)
