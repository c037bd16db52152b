"""One folder a training: the same data and settings resume, others start anew."""

import hashlib
from pathlib import Path

from chronotope.steps.holdout import frozen_folds
from chronotope.steps.settings import TrainSettings


def run_folder(features: Path, dataset: str, settings: TrainSettings) -> Path:
    """Folder of the training of a snapshot under some settings.

    Args:
        features: Feature snapshot; its name is its digest.
        dataset: Name of the dataset.
        settings: Everything the training was told; ``root`` does not matter.
    """
    told = _told(settings)
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
        "features": features.name,
        "folds": frozen_folds(run).digest,
        "settings": hashlib.sha256(_told(settings).encode()).hexdigest()[:16],
    }


def _told(settings: TrainSettings) -> str:
    return settings.model_dump_json(exclude={"root"})
