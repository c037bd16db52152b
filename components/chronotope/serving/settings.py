"""Settings of the service."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from chronotope.datasets.content_spec import ImageContent
from chronotope.experiments.experiment import Experiment, Exploration
from chronotope.inference.new_items import ContentSource


def _validate_network(address: str) -> str:
    """Validated address or network: uvicorn accepts any text and then trusts no proxy."""
    ip_network(address)
    return address


class Pictures(BaseModel):
    """Where the pictures of the items are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: ImageContent = Field(description="Path by columns of the items, and bounds.")
    data_dir: Path = Field(description="Folder of the files.")


class ServeSettings(BaseModel):
    """Settings of one service of one dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(description="Dataset whose champion is served.")
    root: Path = Field(Path(), description="Project root, the folder of the stores.")
    event_type: str = Field(
        "event", min_length=1, description="Default type of events posted without one."
    )
    local_zone: str | None = Field(
        None, description="IANA zone of the users' clocks where an event comes without its offset."
    )
    cell_resolution: int | None = Field(
        None, ge=0, le=15, description="H3 resolution of events without a place."
    )
    pictures: Pictures | None = Field(None, description="Pictures of the items; None shows none.")
    api_key: SecretStr | None = Field(
        None, description="API key of every request; None requires none."
    )
    workers: int = Field(1, ge=1, le=64, description="Worker processes.")
    store: SecretStr | None = Field(
        None, description="URL of a Redis in which workers share responses; None shares none."
    )
    poll_s: float = Field(5.0, gt=0, description="Interval of polls for a new champion or data.")
    retry_s: float = Field(60.0, gt=0, description="Retry interval of a champion that failed.")
    threads: int = Field(2, ge=1, le=64, description="Threads that compute responses.")
    time_limit_s: float = Field(10.0, gt=0, description="A slower response is cancelled: 503.")
    max_body_bytes: int = Field(1 << 20, ge=1, description="A larger request is refused: 413.")
    trusted_proxies: tuple[Annotated[str, AfterValidator(_validate_network)], ...] = Field(
        (), description="Addresses or networks whose X-Forwarded-For names the client."
    )
    max_connections: int = Field(
        1000, ge=1, description="Open connections of a process, idle ones included."
    )
    max_header_bytes: int = Field(32 * 1024, ge=1024, description="Larger headers: 431.")
    max_headers: int = Field(100, ge=1, description="More headers: 431.")
    header_timeout_s: float = Field(10.0, gt=0, description="Timeout of the request headers.")
    keep_alive_s: int = Field(5, ge=1, description="Lifetime of an idle connection.")
    write_timeout_s: float = Field(20.0, gt=0, description="Timeout of reading a response.")
    stop_timeout_s: int = Field(10, ge=1, description="Timeout of open requests at shutdown.")
    rate_per_s: float | None = Field(
        None, gt=0, description="Rate limit of a client; None sets none."
    )
    burst: int = Field(20, ge=1, description="Requests a client may send at once.")
    cached_users: int = Field(10_000, ge=1, description="User states in the cache.")
    cached_responses: int = Field(10_000, ge=1, description="Responses in the cache.")
    response_ttl_s: int = Field(
        30, ge=1, description="Cache lifetime of a response for the current time."
    )
    traces: bool = Field(
        False, description="Send OpenTelemetry traces to the collector that OTEL_* names."
    )
    json_logs: bool = Field(False, description="Log as JSON lines, each request included.")
    log_impressions: bool = Field(True, description="Log shown lists.")
    exploration: Exploration = Field(
        Exploration(), description="Default exploration: share and kind of random lists."
    )
    tail_exposure: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Bonus, in nats, of items outside the most popular fifth, times the share of "
        "such items in the user's history; 0 shows the likeliest items.",
    )
    explore_new: float = Field(
        0.05, ge=0, le=1, description="Share of lists that end with a new item, if there are any."
    )
    content: ContentSource | None = Field(
        None, description="Where the content of new items is; None encodes none."
    )
    experiment: Experiment | None = Field(None, description="Experiment with its arms.")

    @model_validator(mode="after")
    def _check_impressions(self) -> Self:
        if self.experiment and not self.log_impressions:
            raise ValueError("an experiment needs log_impressions: impressions are its data")
        return self
