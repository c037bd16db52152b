"""Settings of the flow ``pretrain-model``."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from chronotope.models.config import ModelConfig
from chronotope.pipelines.settings import validated_settings
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.workspace import Workspace
from chronotope.training.config import TrainingConfig
from chronotope.tuning.config import StudyConfig


class PretrainSettings(BaseModel):
    """Settings of one pretraining over several logs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; all files are written below it.")
    name: str = Field(
        "pretrained-network",
        pattern=r"^[a-z][a-z0-9_-]{0,63}$",
        description="Name of the registered model.",
    )
    model: ModelConfig = Field(
        ModelConfig(content=False), description="Network; `train` has to use the same sizes."
    )
    training: TrainingConfig = Field(
        TrainingConfig(max_targets=20_000, discovery_targets=0),
        description="Training; max_targets holds for each log.",
    )
    balance: float = Field(
        0.5, ge=0.0, le=1.0, description="Weight of the logs: 0 by their batches, 1 all alike."
    )
    study: StudyConfig = Field(
        StudyConfig(n_trials=1),
        description="Search of learning rate, weight decay and balance; with n_trials: 1 the "
        "settings are taken as they are.",
    )
    n_folds: int = Field(
        2, ge=1, le=20, description="Folds of later time of each log, on which trials are compared."
    )
    trial_targets: int = Field(
        8_000, ge=50, description="Maximum training targets of each log in a trial."
    )
    holdout_quantile: float = Field(
        0.8, gt=0.1, lt=1.0, description="Share of each log's events before its holdout."
    )
    max_holdout_targets: int = Field(
        2_000, ge=50, description="Maximum targets evaluated in a fold or the holdout of each log."
    )

    @property
    def workspace(self) -> Workspace:
        """Folders below the root."""
        return Workspace(self.root)


def read_pretrain_settings(config_path: Path | None, root: Path) -> PretrainSettings:
    """Settings from a YAML file, or the defaults.

    Args:
        config_path: YAML of settings; None takes the defaults.
        root: Project root.

    Raises:
        ConfigError: The file cannot be read, or a value is out of bounds.
    """
    return validated_settings(
        config_path,
        PretrainSettings,
        lambda content: {**content, "root": root},
        subject="settings of the pretraining",
        command="pretrain",
    )
