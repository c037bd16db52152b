"""One folder a training: the same data and settings resume, others start anew."""

import hashlib
from pathlib import Path

from chronotope.steps.settings import TrainSettings


def run_folder(features: Path, dataset: str, settings: TrainSettings) -> Path:
    """Folder of the training of a snapshot under some settings.

    Args:
        features: Feature snapshot; its name is its digest.
        dataset: Name of the dataset.
        settings: Everything the training was told; ``root`` does not matter.
    """
    told = settings.model_dump_json(exclude={"root"})
    digest = hashlib.sha256(f"{features.name}\n{told}".encode()).hexdigest()[:12]
    return settings.workspace.runs(dataset) / digest
