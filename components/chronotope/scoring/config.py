"""Settings and result of a scoring of all users."""

from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from chronotope.datasets.loading import CONF_DIR
from chronotope.runtime.allowed_paths import AllowedPath
from chronotope.runtime.engine import EngineConfig

DEFAULT_K: Final = 20
"""Items of each user where none are asked for; a catalogue may have fewer."""


class ScoringConfig(BaseModel):
    """Settings of a scoring: whom, how many items, as of when, and where to write."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; all files are written below it")
    k: int = Field(
        DEFAULT_K,
        ge=1,
        le=1000,
        description="Number of items of each user; of a smaller catalogue, all",
    )
    tail_exposure: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Bonus, in nats, of items outside the most popular fifth, times the share of "
        "such items in the user's history",
    )
    new_only: bool = Field(False, description="Only items that the user has not had yet")
    rescore_all: bool = Field(
        False,
        description="Score all users again, not only those with news since the last scoring "
        "with the same model, catalogue and settings",
    )
    scored_at: AwareDatetime | None = Field(
        None, description="Moment of scoring; only earlier events count. Empty: now"
    )
    users_file: AllowedPath | None = Field(
        None, description="Text file with one user id a line: score these only. Empty: all users"
    )
    skip_unknown: bool = Field(
        False, description="Leave out ids of the users file that the log does not contain"
    )
    out: str | None = Field(
        None,
        description="Further copy of the table: a path that ends in .parquet or .csv, or the "
        "SQLAlchemy URL of a database, its password as $VARIABLE",
    )
    sql_table: str = Field(
        "predictions", pattern=r"^[A-Za-z_]\w{0,62}$", description="Table in that database"
    )
    suites: AllowedPath = Field(
        Path("expectations"),
        description="Folder of the validation suites: below the project root, else in the working "
        "folder, else those that are installed with Chronotope",
    )
    conf_dir: AllowedPath = Field(CONF_DIR, description="Folder of the YAML files of datasets")
    block_users: int = Field(
        2_000,
        ge=1,
        le=100_000,
        description="Users that are stored at a time; a run that was "
        "killed continues after the last stored block",
    )
    batch_users: int = Field(
        64, ge=1, le=4_096, description="Users in one run of the model, fewer for a large catalogue"
    )
    engine: EngineConfig = Field(
        EngineConfig(),
        description="Where blocks are scored: local, in this process; processes, in worker "
        "processes on this machine; ray, on a Ray cluster. The rows are the same",
    )


class ScoringProgress(BaseModel):
    """Progress of a scoring."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_done: int = Field(ge=0, description="Users scored so far, those of a killed run included")
    n_users: int = Field(ge=0, description="Users to score")
    users_per_s: float = Field(ge=0, description="Users a second of this run")


class ScoringResult(BaseModel):
    """Result of a scoring."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Name of the dataset")
    model_version: str = Field(description="Version of the model")
    data_version: str = Field(description="Versions of the tables it was computed from")
    scored_at: datetime = Field(description="Moment of scoring")
    n_scored: int = Field(description="Users that were scored, those of a killed run included")
    n_resumed: int = Field(description="Of these, users that an earlier, killed run had scored")
    n_unchanged: int = Field(description="Users without news, whose rows stay as they are")
    n_removed: int = Field(description="Users who are not in the log any more")
    n_unknown: int = Field(description="Ids of the users file that are not in the log, left out")
    table_version: int | None = Field(description="Version of the table; None if nothing changed")
    users_per_s: float = Field(description="Users a second of this run")
    seconds: float = Field(description="Wall-clock time of the whole run")
    out: str | None = Field(None, description="Where the copy was written, without its password")
    n_exported: int = Field(0, description="Rows of the copy")
