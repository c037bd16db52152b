"""Settings of the task engine and the resources of each task."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class EngineConfig(BaseModel):
    """Settings of the task engine; results of tasks do not depend on them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["local", "processes", "ray"] = Field(
        "local",
        description="local: sequential, in this process; processes: in worker processes on this "
        "machine; ray: on a Ray cluster.",
    )
    n_workers: int = Field(
        0,
        ge=0,
        le=256,
        description="Processes: number of worker processes, each with its own copy of a log below "
        "4 million events in memory, while larger ones are shared; 0: one per core.",
    )
    address: str = Field(
        "",
        pattern=r"^([\w.\-]+:\d+)?$",
        description="Ray: host:port of a running cluster. If empty, the environment variable "
        "RAY_ADDRESS is used; without it a private cluster is started on this machine and stopped "
        "afterwards.",
    )
    task_cpus: float = Field(
        1.0,
        gt=0,
        le=64,
        description="Ray: number of processors reserved for each task; a task uses one thread.",
    )
    max_retries: int = Field(
        3,
        ge=0,
        le=100,
        description="Retries of a task after the loss of its node or worker process.",
    )

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, engine_name: Any) -> Any:
        """Expand the short form ``engine: ray`` to ``engine: {kind: ray}``."""
        return {"kind": engine_name} if isinstance(engine_name, str) else engine_name
