"""One folder a training: the same data and settings resume, others start anew."""

import hashlib
from pathlib import Path
from typing import Final

from chronotope.contracts.json_files import read_json
from chronotope.steps.holdout import frozen_folds
from chronotope.steps.settings import TrainSettings

_SETTINGS: Final = "settings.json"
_NETWORK: Final = "network.txt"

_WHERE: Final = {"root", "engine"}
"""Settings that say where the work is done, and not what comes out."""


def run_folder(features: Path, dataset: str, settings: TrainSettings, *, purpose: str = "") -> Path:
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
        "network": network_of(run),
        "features": features.name,
        "folds": frozen_folds(run).digest,
        "settings": hashlib.sha256(_told(settings).encode()).hexdigest()[:16],
    }


def keep_settings(run: Path, settings: TrainSettings) -> None:
    """Keep what a training was told beside what it did, for its successors."""
    run.mkdir(parents=True, exist_ok=True)
    draft = run / "settings.draft"
    draft.write_text(_told(settings), encoding="utf-8")
    draft.replace(run / _SETTINGS)


def kept_settings(run: Path, root: Path) -> TrainSettings:
    """What a training was told, below another root; the defaults if nothing is kept.

    Args:
        run: Folder of the training.
        root: Project root.
    """
    path = run / _SETTINGS
    told = read_json(path) if path.exists() else {}
    return TrainSettings.model_validate({**told, "root": root})


def keep_network(run: Path, trained_in: str) -> None:
    """Note that a run's network was trained in another run."""
    run.mkdir(parents=True, exist_ok=True)
    (run / _NETWORK).write_text(trained_in, encoding="utf-8")


def network_of(run: Path) -> str:
    """Name of the run that trained a run's network; its own unless it took one over."""
    path = run / _NETWORK
    return path.read_text(encoding="utf-8") if path.exists() else run.name


def _told(settings: TrainSettings) -> str:
    return settings.model_dump_json(exclude=_WHERE)
