"""Folder of a training: the same data and settings resume in it, others get another one."""

import hashlib
import json
from pathlib import Path
from typing import Final

from chronotope.pipelines.holdout import frozen_folds
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.durable_files import read_json, write_json, write_text
from chronotope.runtime.plugins.installed_recommenders import installed_versions
from chronotope.runtime.private_files import private_folder

_SETTINGS_FILE: Final = "settings.json"
_NETWORK_FILE: Final = "network.txt"

_WAY_OUT: Final = "Train again with the settings that are wanted, or choose another version"

_PLACE_FIELDS: Final = {"root", "engine"}
"""Settings of where the work is done; they do not change its result."""


def training_run_dir(
    features: Path, dataset: str, settings: TrainSettings, *, purpose: str = ""
) -> Path:
    """Folder of the training of a snapshot with some settings.

    Args:
        features: Feature snapshot; its name is its digest.
        dataset: Name of the dataset.
        settings: All settings of the training; where it runs does not matter. With other
            installed recommenders it is another training, whose gate compares with others.
        purpose: Difference from a training from scratch, such as the version whose successor
            is trained.
    """
    settings_text = f"{_settings_json(settings)}{purpose}{''.join(installed_versions())}"
    content_digest = hashlib.sha256(f"{features.name}\n{settings_text}".encode()).hexdigest()[:12]
    return settings.workspace.runs(dataset) / content_digest


def lineage(features: Path, settings: TrainSettings, run_dir: Path) -> dict[str, str]:
    """Digests of the inputs of a training, for its MLflow tags.

    Args:
        features: Feature snapshot; its name is its digest.
        settings: All settings of the training.
        run_dir: Its folder, with the frozen folds.
    """
    return {
        "training": run_dir.name,
        "network": network_source(run_dir),
        "features": features.name,
        "folds": frozen_folds(run_dir).digest,
        "settings": hashlib.sha256(_settings_json(settings).encode()).hexdigest()[:16],
    }


def write_settings(run_dir: Path, settings: TrainSettings) -> None:
    """Store the settings of a training in its folder, for its successors."""
    private_folder(run_dir)
    write_json(run_dir / _SETTINGS_FILE, json.loads(_settings_json(settings)))


def read_settings(run_dir: Path, root: Path) -> TrainSettings:
    """Settings of a training, below another root; the defaults if none are stored.

    Args:
        run_dir: Folder of the training.
        root: Project root.

    Raises:
        StoreError: The file is damaged.
    """
    settings_path = run_dir / _SETTINGS_FILE
    content = {}
    if settings_path.exists():
        content = read_json(settings_path, subject="The settings of a training", way_out=_WAY_OUT)
    return TrainSettings.model_validate({**content, "root": root})


def write_network_source(run_dir: Path, source_run: str) -> None:
    """Record the run that trained the network of a run."""
    private_folder(run_dir)
    write_text(run_dir / _NETWORK_FILE, source_run)


def network_source(run_dir: Path) -> str:
    """Name of the run that trained the network of a run; its own by default."""
    network_path = run_dir / _NETWORK_FILE
    if not network_path.exists():
        return run_dir.name
    return network_path.read_text(encoding="utf-8")


def _settings_json(settings: TrainSettings) -> str:
    return settings.model_dump_json(exclude=_PLACE_FIELDS)
