"""Everything the service can be told."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from chronotope.experiments.experiment import Experiment, Exploration


def _network(address: str) -> str:
    """An address or a network as given, if it is one: uvicorn takes any word and trusts nobody."""
    ip_network(address)
    return address


class ServeSettings(BaseModel):
    """Settings of one service of one dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Whose champion answers.")
    root: Path = Field(Path(), description="Project root, below which stores lie.")
    event_type: str = Field("event", min_length=1, description="Of events posted without a type.")
    local_zone: str | None = Field(
        None, description="IANA zone of the users' clocks where an event comes without its offset."
    )
    cell_resolution: int | None = Field(
        None, ge=0, le=15, description="An event without a place gets its H3 cell."
    )
    api_key: SecretStr | None = Field(None, description="Asked of every caller; None asks none.")
    workers: int = Field(1, ge=1, le=64, description="Processes that answer.")
    store: SecretStr | None = Field(
        None, description="URL of a Redis in which workers share answers; None shares none."
    )
    poll_s: float = Field(5.0, gt=0, description="Between looks for a new champion or new data.")
    retry_s: float = Field(60.0, gt=0, description="Until a champion that failed is tried again.")
    threads: int = Field(2, ge=1, le=64, description="Answers computed at a time.")
    time_limit_s: float = Field(10.0, gt=0, description="A slower answer is given up: 503.")
    max_body_bytes: int = Field(1 << 20, ge=1, description="A larger request is refused: 413.")
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (), description="Addresses or networks whose X-Forwarded-For names the client."
    )
    max_connections: int = Field(
        1000, ge=1, description="Open connections of a process, idle ones included."
    )
    max_header_bytes: int = Field(32 * 1024, ge=1024, description="Larger headers: 431.")
    max_headers: int = Field(100, ge=1, description="More headers: 431.")
    header_timeout_s: float = Field(10.0, gt=0, description="Until the headers have come.")
    keep_alive_s: int = Field(5, ge=1, description="A connection without a request is closed.")
    write_timeout_s: float = Field(20.0, gt=0, description="Until an answer has been taken.")
    stop_timeout_s: int = Field(10, ge=1, description="For what is under way at the end.")
    rate_per_s: float | None = Field(None, gt=0, description="Requests a client; None sets none.")
    burst: int = Field(20, ge=1, description="Requests a client may send at once.")
    cached_users: int = Field(10_000, ge=1, description="Users whose past is kept ready.")
    cached_answers: int = Field(10_000, ge=1, description="Answers that are kept.")
    answer_lasts_s: int = Field(
        30, ge=1, description="An answer for now is kept so long if the user does nothing."
    )
    log_answers: bool = Field(True, description="Log what was shown, for the next training.")
    exploration: Exploration = Field(
        Exploration(), description="How answers are drawn at random where nothing else is said."
    )
    experiment: Experiment | None = Field(None, description="Models that are compared.")

    @model_validator(mode="after")
    def _logged(self) -> Self:
        if self.experiment and not self.log_answers:
            raise ValueError("an experiment needs log_answers: what was shown is its data")
        return self
