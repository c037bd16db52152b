"""Settings of a federation: rounds, aggregation, noise, and simulated faults."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

AggregationRule = Literal["mean", "trimmed_mean", "median"]


class AggregationConfig(BaseModel):
    """Settings of the aggregation of updates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secure: bool = Field(
        True,
        description="Secure aggregation: the server learns the sum of the clients' vectors only.",
    )
    rule: AggregationRule = Field(
        "mean",
        description="mean, weighted by the clients' targets; trimmed_mean and median, by "
        "coordinate, withstand poisoned clients and need secure: false.",
    )
    trim_share: float = Field(
        0.15, gt=0.0, lt=0.5, description="trimmed_mean: share of the clients cut at either end."
    )
    update_norm: float | None = Field(
        None,
        gt=0.0,
        description="L2 norm to which a client scales its update down; without secure "
        "aggregation the server does so as well.",
    )
    noise_multiplier: float = Field(
        0.0,
        ge=0.0,
        description="Deviation of the Gaussian noise on the sum of the updates of a round, in "
        "units of update_norm; 0 adds none.",
    )

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        if self.secure and self.rule != "mean":
            raise ValueError(
                f"aggregation.rule {self.rule} compares the updates of single clients, which "
                "secure aggregation hides: set secure: false, or rule: mean with update_norm"
            )
        if self.noise_multiplier and self.update_norm is None:
            raise ValueError("Noise needs a bound: set aggregation.update_norm")
        if self.noise_multiplier and self.rule != "mean":
            raise ValueError(
                "The noise is accounted for a mean: set aggregation.rule: mean, or "
                "noise_multiplier: 0"
            )
        return self


class FaultConfig(BaseModel):
    """Simulated faults, for measurements; by default none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop_share: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share of the clients that drop out of each aggregation."
    )
    straggler_share: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share of the clients that are late in each aggregation."
    )
    delay_s: float = Field(0.0, ge=0.0, le=3600.0, description="Delay of a late client.")
    poison_share: float = Field(
        0.0,
        ge=0.0,
        lt=0.5,
        description="Share of the clients that always send reversed updates of ten times the "
        "length, and ten times the counts, of other items.",
    )
    poison_counts: bool = Field(
        True, description="Whether poisoned clients also send counts of other items."
    )
    seed: int = Field(0, ge=0, description="Seed of the choice of clients.")


class FederationConfig(BaseModel):
    """Rounds of a federated training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(
        8,
        ge=1,
        le=1000,
        description="Rounds of training, fewer if training.patience rounds bring nothing.",
    )
    local_epochs: int = Field(
        1, ge=1, le=100, description="Passes of a client over its targets in a round."
    )
    proximal: float = Field(
        0.0,
        ge=0.0,
        le=100.0,
        description="FedProx: weight of the squared distance from the round's start; 0 is FedAvg.",
    )
    discovery_rounds: int = Field(
        5, ge=0, le=1000, description="Rounds of training of the discovery head; 0 leaves it out."
    )
    quorum_share: float = Field(
        0.5,
        ge=0.5,
        le=1.0,
        description="More than this share of the clients has to answer, or the run stops; with "
        "secure aggregation also the share whose secrets unmask a sum.",
    )
    timeout_s: float = Field(
        600.0, gt=0.0, description="Time for the answers of a step; later ones are left out."
    )
    count_retries: int = Field(
        5,
        ge=0,
        le=20,
        description="How often clients without an answer are asked for their counts again; not "
        "under secure aggregation, where a second sum would be over those few.",
    )
    max_pair_items: int = Field(
        1024,
        ge=2,
        le=8192,
        description="Most popular items whose pairs are counted; each pair is a cell that every "
        "client sends.",
    )
    aggregation: AggregationConfig = Field(
        AggregationConfig(), description="How the clients' updates become one."
    )
    faults: FaultConfig = Field(FaultConfig(), description="Simulated faults, for measurements.")

    def threshold(self, n_clients: int) -> int:
        """Clients that have to answer.

        Args:
            n_clients: Clients of the federation.
        """
        return min(n_clients, int(self.quorum_share * n_clients) + 1)
