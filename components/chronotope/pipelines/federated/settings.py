"""Settings of the flow ``federated-train``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chronotope.federated.config import FaultConfig, FederationConfig
from chronotope.pipelines.settings import TrainSettings, validated_settings
from chronotope.pipelines.trust.config import PrivacyConfig
from chronotope.runtime.allowed_paths import AllowedPath


class FederatedSettings(BaseModel):
    """Settings of one federated training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    training: TrainSettings = Field(
        TrainSettings(),
        description="Folds, network, training, gate and engine; there is no search, and what is "
        "compressed is not trained.",
    )
    federation: FederationConfig = Field(
        FederationConfig(), description="Rounds, aggregation and simulated faults."
    )
    clients: tuple[AllowedPath, ...] = Field(
        (),
        description="Project roots of clients that have a lake of the dataset each; none simulate "
        "clients from the coordinator's own lake.",
    )
    exchange: AllowedPath | None = Field(
        None,
        description="Folder through which another program, such as a Flower app, asks n_clients "
        "clients; they answer by `chronotope federate-client`.",
    )
    n_clients: int = Field(
        20, ge=2, le=1000, description="Number of clients, simulated or behind the exchange."
    )
    by: str = Field(
        "random",
        min_length=1,
        description="How users are divided among simulated clients: random, place, taste, "
        "activity, or the name of a column of the users table or of the events.",
    )

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        training = self.training
        if training.privacy.epsilon is not None or training.privacy.audit.held_out_share:
            raise ValueError(
                "privacy.epsilon and privacy.audit are of a training on one lake: leave them out; "
                "aggregation.noise_multiplier adds noise to the updates"
            )
        if training.model.context or training.model.item_context:
            raise ValueError(
                "Context columns are of one log: remove model.context and model.item_context"
            )
        if self.exchange is not None:
            self._check_exchange()
        if self.clients and len(self.clients) < 2:
            raise ValueError("A federation needs at least two clients")
        if len(set(self.clients)) < len(self.clients):
            raise ValueError("A client is named twice")
        return self

    def _check_exchange(self) -> None:
        if self.clients:
            raise ValueError("Clients are named by the exchange or by clients, not by both")
        aggregation = self.federation.aggregation
        if aggregation.secure or aggregation.rule != "mean" or aggregation.noise_multiplier:
            raise ValueError(
                "Behind an exchange another program aggregates, and sees each update: set "
                "federation.aggregation to secure: false, rule: mean, noise_multiplier: 0, and "
                "choose the rule in that program"
            )
        if self.federation.faults != FaultConfig():
            raise ValueError("Faults are simulated without an exchange only: remove them")

    @classmethod
    def like(cls, training: TrainSettings) -> Self:
        """Settings of a federation from those of a training on one lake.

        Args:
            training: Settings; privacy and context columns are of one log and left out.
        """
        model = training.model.model_copy(update={"context": (), "item_context": ()})
        updates = {"model": model, "privacy": PrivacyConfig()}
        return cls(training=training.model_copy(update=updates))

    def used_training(self) -> TrainSettings:
        """Settings of the training without what needs rows of the clients."""
        untrained = {"pruned_units": 0.0, "student": False, "n_trials": 0}
        training = self.training
        return training.model_copy(
            update={
                "model": training.model.model_copy(update={"content": False}),
                "compression": training.compression.model_copy(update=untrained),
            }
        )

    def purpose(self) -> str:
        """Difference from a central training with the same settings, for the name of the run."""
        fields = {"federation", "n_clients", "by"}
        if self.clients:
            fields = {"federation", "clients"}
        elif self.exchange is not None:
            fields = {"federation", "n_clients", "exchange"}
        return f" federated {self.model_dump_json(include=fields)}"


def read_federated_settings(config_path: Path | None, root: Path) -> FederatedSettings:
    """Settings from a YAML file, or the defaults.

    Args:
        config_path: YAML of settings; None takes the defaults.
        root: Project root.

    Raises:
        ConfigError: The file cannot be read, or a value is out of bounds.
    """

    def with_root(content: Mapping[str, Any]) -> dict[str, object]:
        training = content.get("training") or {}
        if isinstance(training, dict):  # else the model refuses it
            training = {**training, "root": root}
        return {**content, "training": training}

    return validated_settings(
        config_path,
        FederatedSettings,
        with_root,
        subject="settings of the federated training",
        command="federate DATASET",
    )
