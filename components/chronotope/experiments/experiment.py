"""Design of an online experiment: users are assigned to arms by a hash."""

from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.datasets.strict_yaml import read_yaml
from chronotope.registry.promotion_journal import CHALLENGER, CHAMPION
from chronotope.runtime.durable_files import write_new_text
from chronotope.runtime.private_files import private_folder

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Exploration(BaseModel):
    """Randomised ranking, whose propensities off-policy estimates need."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["uniform", "softmax", "thompson"] = Field(
        "uniform",
        description="uniform: all items of the pool alike; softmax: by the model's probabilities "
        "(Plackett-Luce); thompson: by scores sampled with each item's uncertainty.",
    )
    share: float = Field(0.0, ge=0, le=1, description="Share of lists that are randomised.")
    pool: int = Field(100, ge=1, le=1000, description="Number of best items to draw from.")
    temperature: float = Field(
        1.0, gt=0, le=100, description="Higher draws more evenly; for softmax and thompson."
    )


class ExperimentArm(BaseModel):
    """One arm: a model, its share of users and its mode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    model: Name = Field(CHAMPION, description="A version of the registry, or an alias.")
    share: float = Field(
        gt=0,
        le=1,
        description="Share of users: of a live arm, those who see its lists; "
        "of a shadow arm, those for whom its lists are logged.",
    )
    mode: Literal["live", "shadow"] = Field("live", description="Shadow answers are only logged.")
    explore: Exploration | None = Field(
        None, description="Exploration of this arm instead of the service's."
    )

    @model_validator(mode="after")
    def _live_model_is_blessed(self) -> Self:
        if self.mode == "live" and self.model == CHALLENGER:
            raise ValueError(
                "a challenger is not blessed: make it a shadow arm, or name its version"
            )
        return self


class Experiment(BaseModel):
    """Arms and their shares of users; the first live arm is the control."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(description="Name of the design; a changed design needs a new name.")
    salt: str = Field(
        "", max_length=200, description="Equal salts assign users alike; the name by default."
    )
    arms: tuple[ExperimentArm, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _arms_are_consistent(self) -> Self:
        arm_names = [arm.name for arm in self.arms]
        if len(set(arm_names)) < len(arm_names):
            raise ValueError("two arms have the same name")
        total_share = sum(arm.share for arm in self.live)
        if abs(total_share - 1) > 1e-9:
            raise ValueError(f"the shares of the live arms must add up to 1, not {total_share:g}")
        return self

    @property
    def live(self) -> tuple[ExperimentArm, ...]:
        """Live arms, whose lists are shown."""
        return tuple(arm for arm in self.arms if arm.mode == "live")

    @property
    def shadows(self) -> tuple[ExperimentArm, ...]:
        """Shadow arms, whose lists are only logged."""
        return tuple(arm for arm in self.arms if arm.mode == "shadow")

    def arm_of(self, user_id: str) -> ExperimentArm:
        """Live arm of a user, the same in every process."""
        unit_hash = self._unit_hash(user_id, "")
        share_ends = accumulate(arm.share for arm in self.live)
        matching_arms = (
            arm for arm, end in zip(self.live, share_ends, strict=True) if unit_hash < end
        )
        return next(matching_arms, self.live[-1])  # sums of shares are rounded

    def shadows_of(self, user_id: str) -> tuple[ExperimentArm, ...]:
        """Shadow arms of a user, each by an independent hash."""
        return tuple(arm for arm in self.shadows if self._unit_hash(user_id, arm.name) < arm.share)

    def _unit_hash(self, user_id: str, arm_name: str) -> float:
        """Hash of salt, arm and user in [0, 1): 53 bits of BLAKE2b."""
        key = blake2b(f"{self.salt or self.name}\0{arm_name}".encode(), digest_size=32).digest()
        user_hash = blake2b(user_id.encode("utf-8", "surrogatepass"), key=key, digest_size=8)
        return (int.from_bytes(user_hash.digest(), "big") >> 11) / 2**53


def read_experiment(path: Path) -> Experiment:
    """Read an experiment's YAML; all mistakes are reported at once.

    Raises:
        ConfigError: No such file, not YAML, or keys that are wrong or missing.
    """
    try:
        return Experiment.model_validate(read_yaml(path))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        )
        raise ConfigError(f"The experiment is invalid: {problems}", received=path) from error
    except ConfigError as error:
        raise ConfigError(
            "The experiment cannot be read",
            received=f"{path}: {error.received}",
            way_out="Correct the file",
        ) from None


def store_experiment(design_dir: Path, experiment: Experiment) -> None:
    """Store the design, which the report of the logged lists needs.

    Args:
        design_dir: Designs of the dataset's experiments.
        experiment: The design.

    Raises:
        ConfigError: An experiment of this name already has another design.
        StoreError: The folder cannot be written.
    """
    design_path = design_dir / f"{experiment.name}.json"
    try:
        private_folder(design_dir)
        try:
            write_new_text(design_path, experiment.model_dump_json(indent=2))
        except FileExistsError:
            if load_experiment(design_dir, experiment.name) != experiment:
                raise ConfigError(
                    "An experiment of this name had other arms, shares or salt",
                    received=design_path,
                    way_out="Give the new design a new name; with the old salt users stay",
                ) from None
    except OSError as error:
        raise StoreError("The experiment cannot be stored", received=error) from error


def load_experiment(design_dir: Path, name: str) -> Experiment:
    """Stored design of an experiment.

    Raises:
        ConfigError: There is none of this name.
        StoreError: Its file is damaged.
    """
    design_path = design_dir / f"{name}.json"
    try:
        return Experiment.model_validate_json(design_path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(
            "The design of an experiment cannot be read",
            received=f"{design_path}: {error}",
            way_out="Delete the file and serve the same design again, which writes it anew",
        ) from error
    except OSError as error:
        known_names = (
            ", ".join(sorted(known_path.stem for known_path in design_dir.glob("*.json"))) or "none"
        )
        raise ConfigError(
            "No such experiment was served", received=name, way_out=f"Known are: {known_names}"
        ) from error
