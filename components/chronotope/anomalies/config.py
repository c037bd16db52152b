"""Settings of the anomaly detectors."""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from chronotope.training.anomaly.config import NetworkConfig

DetectorName = Literal["autoencoder", "gan", "surprise", "ensemble", "supervised"]

UNSUPERVISED: Final[tuple[DetectorName, ...]] = ("autoencoder", "gan", "surprise", "ensemble")
"""Detectors that are fitted without labels."""


class TreesConfig(BaseModel):
    """Gradient-boosted trees of the supervised detector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_trees: int = Field(80, ge=1, le=2000, description="Number of trees")
    learning_rate: float = Field(0.05, gt=0, le=1, description="Shrinkage of each tree")
    max_leaves: int = Field(8, ge=2, le=256, description="Leaves of a tree")
    l2: float = Field(5.0, ge=0, description="L2 penalty of the values of the leaves")
    seed: int = Field(0, ge=0, description="Random seed")


class DetectorConfig(BaseModel):
    """Features and models of the detectors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_delay_days: int = Field(
        7, ge=0, description="Days until the label of an event is known; features respect them"
    )
    risk_features: bool = Field(
        True, description="Shares of labelled events of user and item, once their labels are known"
    )
    recommender_features: bool = Field(
        False,
        description="How unlikely item and time are to a recommender that counts earlier events; "
        "one inference for each event",
    )
    network: NetworkConfig = Field(
        NetworkConfig(), description="Networks of the autoencoder and of the GAN"
    )
    trees: TreesConfig = Field(TreesConfig(), description="Trees of the supervised detector")
