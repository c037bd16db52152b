"""Everything a training can be told, composed of the rooms' own configs."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from chronotope.compression.selection import CompressionConfig
from chronotope.models.config import BACKBONES, BackboneKind, ModelConfig
from chronotope.registry.blessing import BlessConfig
from chronotope.registry.gate import GateConfig
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.workspace import Workspace
from chronotope.splitting.folds import FoldsConfig
from chronotope.training.config import TrainingConfig
from chronotope.tuning.study import StudyConfig


class TrainSettings(BaseModel):
    """Settings of one training, from folds to promotion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; everything written lies below it.")
    folds: FoldsConfig = Field(FoldsConfig(), description="How time is cut.")
    model: ModelConfig = Field(ModelConfig(), description="Where the search starts.")
    training: TrainingConfig = Field(TrainingConfig(), description="How each model is trained.")
    study: StudyConfig = Field(StudyConfig(n_trials=4), description="How parameters are searched.")
    backbones: tuple[BackboneKind, ...] = Field(
        BACKBONES, description="Families the search may draw; the one it starts from is added."
    )
    gate: GateConfig = Field(GateConfig(), description="What wins a challenger the place.")
    bless: BlessConfig = Field(BlessConfig(), description="What the artefact has to meet.")
    compression: CompressionConfig = Field(
        CompressionConfig(), description="What compression tries and may cost."
    )
    trial_targets: int = Field(
        30_000, ge=100, description="Targets an epoch in the search, at most; fewer are faster."
    )
    max_fold_targets: int = Field(5_000, ge=50, description="Targets judged in each fold.")
    max_holdout_targets: int = Field(20_000, ge=50, description="Targets of the final judgement.")

    engine: EngineConfig = Field(
        EngineConfig(), description="Where folds of trials are judged and bundles are scored."
    )

    @property
    def workspace(self) -> Workspace:
        """Folders below the root."""
        return Workspace(self.root)
