"""Settings of the flow ``train-anomaly``."""

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from chronotope.anomalies.config import DetectorConfig, DetectorName
from chronotope.pipelines.settings import validated_settings
from chronotope.registry.gate import GateConfig
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.workspace import Workspace
from chronotope.tuning.config import StudyConfig

ANOMALY_CONF_DIR: Final = Path("conf/anomaly")
"""Folder of the settings, one file for each dataset that has its own."""


class AnomalySettings(BaseModel):
    """Settings of one training of an anomaly detector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; all files are written below it")
    label_column: str | None = Field(
        None,
        description="Event column with outcomes (1 or true: an anomaly), named under "
        "events.attributes in the dataset's YAML. Labels posted to the service count without it",
    )
    detectors: tuple[DetectorName, ...] = Field(
        ("ensemble", "autoencoder", "gan", "supervised"),
        min_length=1,
        description="Detectors to choose from on later folds; supervised needs labels",
    )
    detector: DetectorConfig = Field(DetectorConfig(), description="Features and models")
    train_days: int = Field(7, ge=1, description="Days of events a detector is fitted on")
    fold_days: int = Field(7, ge=1, description="Days of a fold")
    n_folds: int = Field(3, ge=1, description="Folds of the search, before the holdout")
    holdout_days: int = Field(21, ge=2, description="Latest days: gate, threshold and report")
    study: StudyConfig = Field(StudyConfig(n_trials=8), description="Budget of the search")
    gate: GateConfig = Field(GateConfig(), description="Bounds of the promotion")
    planted_share: float = Field(
        0.01,
        gt=0,
        lt=0.5,
        description="Share of planted account takeovers that judge a log without labels",
    )
    alerts_per_day: int = Field(100, ge=1, description="Alert budget: flagged users of a day")
    false_alarm_rate: float = Field(
        0.01, gt=0, lt=1, description="Largest share of genuine events that are flagged"
    )
    threshold_confidence: float = Field(
        0.95, gt=0, lt=1, description="Confidence with which that share is kept"
    )
    max_latency_ms: float = Field(1.0, gt=0, description="Largest median time to score an event")

    @property
    def workspace(self) -> Workspace:
        """Folders below the root."""
        return Workspace(self.root)


def read_anomaly_settings(config_path: Path | None, root: Path) -> AnomalySettings:
    """Settings from a YAML file, or the defaults.

    Args:
        config_path: YAML of settings; None takes the defaults.
        root: Project root.

    Raises:
        ConfigError: The file cannot be read, or a value is out of bounds.
    """
    return validated_settings(
        config_path,
        AnomalySettings,
        lambda content: {**content, "root": root},
        subject="settings of the anomaly detector",
        command="anomalies train",
    )
