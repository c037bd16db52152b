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
from chronotope.datasets.yaml_problems import explain_problems
from chronotope.registry.promotion_journal import CHALLENGER, CHAMPION
from chronotope.runtime.state import document_names, read_document, write_new_document

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Exploration(BaseModel):
    """Randomised ranking of a share of the lists, with logged propensities."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["uniform", "softmax", "thompson"] = Field(
        "uniform",
        description="uniform: all items of the pool are equally likely; softmax: drawn by the "
        "model's probabilities (Plackett-Luce); thompson: ranked by scores sampled with the "
        "uncertainty of each item.",
    )
    share: float = Field(0.0, ge=0, le=1, description="Share of lists that are randomised.")
    pool: int = Field(100, ge=1, le=1000, description="Number of top-ranked items to draw from.")
    temperature: float = Field(
        1.0,
        gt=0,
        le=100,
        description="Temperature of softmax and thompson; a higher one draws more uniformly.",
    )


class ExperimentArm(BaseModel):
    """Arm of an experiment: a model, its share of users and its mode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(description="Name of the arm, unique in the experiment.")
    model: Name = Field(CHAMPION, description="Version in the model registry, or alias.")
    share: float = Field(
        gt=0,
        le=1,
        description="Share of users: for a live arm, of those who see its lists; "
        "for a shadow arm, of those for whom its lists are logged.",
    )
    mode: Literal["live", "shadow"] = Field(
        "live", description="live: lists are shown; shadow: lists are only logged."
    )
    explore: Exploration | None = Field(
        None, description="Exploration of this arm, instead of that of the service."
    )

    @model_validator(mode="after")
    def _live_model_is_blessed(self) -> Self:
        if self.mode == "live" and self.model == CHALLENGER:
            raise ValueError(
                "the alias challenger may name a version that is not blessed: make it a shadow "
                "arm, or give a version"
            )
        return self


class Experiment(BaseModel):
    """Design of an experiment: arms and their shares of users; the first live arm is the control.

    Users are assigned to arms by a hash of salt and user id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(
        description="Name of the experiment; a design with other arms needs another name."
    )
    salt: str = Field(
        "",
        max_length=200,
        description="Salt of the hash; experiments with the same salt and shares assign users "
        "alike. Default: the name.",
    )
    arms: tuple[ExperimentArm, ...] = Field(
        min_length=1, max_length=20, description="Arms; the first live arm is the control."
    )

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
        """Live arm of a user, deterministic by user id."""
        unit_hash = self._unit_hash(user_id, "")
        share_ends = accumulate(arm.share for arm in self.live)
        matching_arms = (
            arm for arm, end in zip(self.live, share_ends, strict=True) if unit_hash < end
        )
        return next(matching_arms, self.live[-1])  # the sum of shares may round to less than 1

    def shadows_of(self, user_id: str) -> tuple[ExperimentArm, ...]:
        """Shadow arms of a user, each assigned by an independent hash."""
        return tuple(arm for arm in self.shadows if self._unit_hash(user_id, arm.name) < arm.share)

    def _unit_hash(self, user_id: str, arm_name: str) -> float:
        """Hash of salt, arm and user in [0, 1): 53 bits of BLAKE2b."""
        key = blake2b(f"{self.salt or self.name}\0{arm_name}".encode(), digest_size=32).digest()
        user_hash = blake2b(user_id.encode("utf-8", "surrogatepass"), key=key, digest_size=8)
        return (int.from_bytes(user_hash.digest(), "big") >> 11) / 2**53


def read_experiment(path: Path) -> Experiment:
    """Read an experiment's YAML; one error reports all problems in it.

    Raises:
        ConfigError: The file does not exist, is not YAML, or has wrong or missing keys.
    """
    try:
        return Experiment.model_validate(read_yaml(path))
    except ValidationError as error:
        problem_texts = explain_problems(error, Experiment)
        raise ConfigError(f"The experiment is invalid: {problem_texts}", received=path) from error
    except ConfigError as error:
        raise ConfigError(
            "The experiment cannot be read",
            received=f"{path}: {error.received}",
            way_out="Correct the YAML file",
        ) from None


def store_experiment(design_dir: Path, experiment: Experiment) -> None:
    """Store the design of an experiment, which its report needs.

    Args:
        design_dir: Folder of the designs of a dataset's experiments.
        experiment: The design.

    Raises:
        ConfigError: An experiment of this name has another design.
        StoreError: The folder cannot be written.
    """
    design_path = design_dir / f"{experiment.name}.json"
    try:
        try:
            write_new_document(design_path, experiment.model_dump_json(indent=2))
        except FileExistsError:
            if load_experiment(design_dir, experiment.name) != experiment:
                raise ConfigError(
                    "An experiment of this name exists with other arms, shares or salt",
                    received=design_path,
                    way_out="Choose a new name; set salt to the old one to keep the assignment "
                    "of users",
                ) from None
    except OSError as error:
        raise StoreError("The experiment cannot be stored", received=error) from error


def experiment_names(design_dir: Path) -> list[str]:
    """Names of the experiments that were served, sorted.

    Args:
        design_dir: Folder of the designs of a dataset's experiments.
    """
    return [name.removesuffix(".json") for name in document_names(design_dir, ".json")]


def load_experiment(design_dir: Path, name: str) -> Experiment:
    """Load the stored design of an experiment.

    Raises:
        ConfigError: There is no experiment of this name.
        StoreError: The file of the design is damaged.
    """
    design_path = design_dir / f"{name}.json"
    try:
        design_text = read_document(design_path)
        if design_text is None:
            known_names = ", ".join(experiment_names(design_dir)) or "none"
            raise ConfigError(
                "No such experiment was served", received=name, way_out=f"Known are: {known_names}"
            )
        return Experiment.model_validate_json(design_text)
    except (OSError, ValueError) as error:
        raise StoreError(
            "The design of an experiment cannot be read",
            received=f"{design_path}: {error}",
            way_out="Delete the file and serve the same design again, which stores it",
        ) from error
