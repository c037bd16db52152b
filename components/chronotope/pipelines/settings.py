"""Settings of a training, composed of the configs of its components."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chronotope.compression.config import CompressionConfig
from chronotope.contracts.errors import ConfigError
from chronotope.datasets.strict_yaml import read_yaml
from chronotope.datasets.yaml_problems import explain_problems, no_mapping_way_out
from chronotope.models.config import BACKBONES, BackboneKind, ModelConfig
from chronotope.pipelines.trust.config import PrivacyConfig
from chronotope.registry.blessing import BlessConfig
from chronotope.registry.gate import GateConfig
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.workspace import Workspace
from chronotope.splitting.folds import FoldsConfig
from chronotope.training.augmentation import AugmentationKind
from chronotope.training.config import TrainingConfig
from chronotope.tuning.config import StudyConfig

Settings = TypeVar("Settings", bound=BaseModel)


class TrainSettings(BaseModel):
    """Settings of one training, from folds to promotion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; all files are written below it.")
    folds: FoldsConfig = Field(FoldsConfig(), description="Split of time into folds and holdout.")
    model: ModelConfig = Field(ModelConfig(), description="Model that the search starts from.")
    training: TrainingConfig = Field(TrainingConfig(), description="Training of each model.")
    study: StudyConfig = Field(
        StudyConfig(n_trials=4), description="Budget of the hyper-parameter search."
    )
    backbones: tuple[BackboneKind, ...] = Field(
        BACKBONES, description="Backbones to search; the one of the model is added."
    )
    augmentations: tuple[AugmentationKind, ...] = Field(
        (),
        description="Kinds of augmentation to search, with their amount; that of the training "
        "is added. By default none is searched.",
    )
    gate: GateConfig = Field(
        GateConfig(), description="Conditions under which a challenger becomes champion."
    )
    bless: BlessConfig = Field(
        BlessConfig(), description="Requirements on the compressed model before promotion."
    )
    compression: CompressionConfig = Field(
        CompressionConfig(), description="Candidates and objective of the compression."
    )
    privacy: PrivacyConfig = Field(
        PrivacyConfig(), description="Membership audit, and differential privacy of the training."
    )
    min_group_users: int = Field(
        20,
        ge=1,
        description="Users that a group needs among the targets to be reported and compared.",
    )
    trial_targets: int = Field(
        30_000, ge=100, description="Maximum targets per epoch in the search; fewer are faster."
    )
    max_fold_targets: int = Field(
        5_000, ge=50, description="Maximum targets evaluated in each fold."
    )
    max_holdout_targets: int = Field(
        20_000, ge=50, description="Maximum targets evaluated in the holdout."
    )

    engine: EngineConfig = Field(
        EngineConfig(), description="Where folds of trials and bundles are evaluated."
    )

    def for_groups_of(self, min_users: int) -> Self:
        """Settings that show no group of fewer users, as the dataset's privacy asks.

        Args:
            min_users: Users that a group needs; fewer than the settings' own change nothing.
        """
        if min_users <= self.min_group_users:
            return self
        return self.model_copy(update={"min_group_users": min_users})

    @property
    def workspace(self) -> Workspace:
        """Folders below the root."""
        return Workspace(self.root)


def read_train_settings(config_path: Path | None, root: Path) -> TrainSettings:
    """Settings from a YAML file, or the defaults.

    Args:
        config_path: YAML of training settings; None takes the defaults.
        root: Project root.

    Raises:
        ConfigError: The file cannot be read, or a value is out of bounds.
    """
    return validated_settings(
        config_path,
        TrainSettings,
        lambda content: {**content, "root": root},
        subject="training settings",
        command="train DATASET",
    )


def validated_settings(
    config_path: Path | None,
    settings_model: type[Settings],
    with_root: Callable[[Mapping[str, Any]], dict[str, object]],
    *,
    subject: str,
    command: str,
) -> Settings:
    """Settings from a YAML file, or the defaults.

    Args:
        config_path: YAML of settings; None takes the defaults.
        settings_model: Model of the settings.
        with_root: Adds the project root to the content of the file.
        subject: Name of the settings in messages.
        command: Command with ``--dry-run`` that shows all settings.

    Raises:
        ConfigError: The file cannot be read, or a value is out of bounds.
    """
    content = {} if config_path is None else read_yaml(config_path) or {}
    if not isinstance(content, dict):
        content_kind, way_out = no_mapping_way_out(content)
        raise ConfigError(
            f"The {subject} cannot be used: {config_path} must hold a mapping",
            received=content_kind,
            way_out=way_out,
        )
    try:
        return settings_model.model_validate(with_root(content))
    except ValidationError as error:
        raise ConfigError(
            f"The {subject} in {config_path} cannot be used: "
            f"{explain_problems(error, settings_model)}",
            way_out=f"Correct the file; `chronotope {command} --dry-run` shows all settings",
        ) from error
