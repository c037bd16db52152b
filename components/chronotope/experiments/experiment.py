"""An experiment: who is answered by which model, decided by a hash and by nothing else."""

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
from chronotope.registry.promotion import CHALLENGER, CHAMPION
from chronotope.runtime.durable_files import write_new_text
from chronotope.runtime.private_files import private_folder

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Exploration(BaseModel):
    """How answers are drawn at random, which is what an off-policy estimate learns from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["uniform", "softmax", "thompson"] = Field(
        "uniform",
        description="Every item of the pool alike; by the model's probabilities "
        "(Plackett-Luce); or by scores drawn as unsurely as each item's events leave them.",
    )
    share: float = Field(0.0, ge=0, le=1, description="Share of answers that are drawn.")
    pool: int = Field(100, ge=1, le=1000, description="The best items, from which is drawn.")
    temperature: float = Field(
        1.0, gt=0, le=100, description="Higher draws more evenly; for softmax and thompson."
    )


class ExperimentArm(BaseModel):
    """One of the ways to answer that are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    model: Name = Field(CHAMPION, description="A version of the registry, or an alias.")
    share: float = Field(
        gt=0,
        le=1,
        description="Share of users: of a live arm, that it "
        "answers; of a shadow, for whom it answers unseen.",
    )
    mode: Literal["live", "shadow"] = Field("live", description="Shadow answers are only logged.")
    explore: Exploration | None = Field(None, description="Instead of the service's own.")

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if self.mode == "live" and self.model == CHALLENGER:
            raise ValueError(
                "a challenger is not yet or not at all blessed: shadow it, or name its version"
            )
        return self


class Experiment(BaseModel):
    """Arms and the users' way to them; the first live arm is the control."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name = Field(description="Another design needs another name.")
    salt: str = Field(
        "", max_length=200, description="Equal salts place users alike; the name if left out."
    )
    arms: tuple[ExperimentArm, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError("two arms have the same name")
        total = sum(arm.share for arm in self.live)
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares of the live arms must add up to 1, not {total:g}")
        return self

    @property
    def live(self) -> tuple[ExperimentArm, ...]:
        """Arms whose answers are returned."""
        return tuple(arm for arm in self.arms if arm.mode == "live")

    @property
    def shadows(self) -> tuple[ExperimentArm, ...]:
        """Arms whose answers are only logged."""
        return tuple(arm for arm in self.arms if arm.mode == "shadow")

    def arm_of(self, user_id: str) -> ExperimentArm:
        """The arm that answers a user: the same one in every process, for ever."""
        at = self._unit(user_id, "")
        ends = accumulate(arm.share for arm in self.live)
        found = (arm for arm, end in zip(self.live, ends, strict=True) if at < end)
        return next(found, self.live[-1])  # sums of shares are rounded

    def shadows_of(self, user_id: str) -> tuple[ExperimentArm, ...]:
        """The shadows that answer for a user, each by a hash of its own."""
        return tuple(arm for arm in self.shadows if self._unit(user_id, arm.name) < arm.share)

    def _unit(self, user_id: str, part: str) -> float:
        """A number in [0, 1) that only salt, part and user decide: 53 bits of BLAKE2b."""
        key = blake2b(f"{self.salt or self.name}\0{part}".encode(), digest_size=32).digest()
        hashed = blake2b(user_id.encode("utf-8", "surrogatepass"), key=key, digest_size=8)
        return (int.from_bytes(hashed.digest(), "big") >> 11) / 2**53


def read_experiment(path: Path) -> Experiment:
    """Read an experiment's YAML; every mistake in it is reported at once.

    Raises:
        ConfigError: No such file, not YAML, or keys that are wrong or missing.
    """
    try:
        return Experiment.model_validate(read_yaml(path))
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, found['loc'])) or 'file'}: {found['msg']}"
            for found in error.errors(include_url=False)
        )
        raise ConfigError(f"The experiment is wrong: {told}", received=path) from error
    except ConfigError as error:
        raise ConfigError(
            "The experiment cannot be read",
            received=f"{path}: {error.received}",
            way_out="Correct the file",
        ) from None


def store_experiment(folder: Path, experiment: Experiment) -> None:
    """Keep the design, so that what was logged can be judged by it later.

    Args:
        folder: Designs of the dataset's experiments.
        experiment: The design.

    Raises:
        ConfigError: An experiment of this name had another design: its users would be mixed.
        StoreError: The folder cannot be written.
    """
    path = folder / f"{experiment.name}.json"
    try:
        private_folder(folder)
        try:
            write_new_text(path, experiment.model_dump_json(indent=2))
        except FileExistsError:
            if load_experiment(folder, experiment.name) != experiment:
                raise ConfigError(
                    "An experiment of this name had other arms, shares or salt",
                    received=path,
                    way_out="Give the new design a new name; with the old salt users stay",
                ) from None
    except OSError as error:
        raise StoreError("The experiment cannot be kept", received=error) from error


def load_experiment(folder: Path, name: str) -> Experiment:
    """The design of an experiment.

    Raises:
        ConfigError: There was none of this name.
        StoreError: Its file is damaged.
    """
    path = folder / f"{name}.json"
    try:
        return Experiment.model_validate_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(
            "The design of an experiment cannot be read",
            received=f"{path}: {error}",
            way_out="Delete the file and serve the same design again, which writes it anew",
        ) from error
    except OSError as error:
        known = ", ".join(sorted(found.stem for found in folder.glob("*.json"))) or "none"
        raise ConfigError(
            "No such experiment was served", received=name, way_out=f"Known are: {known}"
        ) from error
