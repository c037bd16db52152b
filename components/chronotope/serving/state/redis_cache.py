"""Redis as what workers share: a cache that may be lost at any time, and nothing more."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from chronotope.contracts.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from redis import Redis

_LOG = logging.getLogger(__name__)
_SCHEMES = frozenset({"redis", "rediss"})
_TIMEOUT_S = 0.25  # an answer is computed sooner than that
_REST_S = 1.0  # after a failure: nobody waits for Redis that is away, again and again
_LASTS_S = 3600  # what nobody finds any more is gone after an hour

T = TypeVar("T")


class RedisCache:
    """Values by name in one Redis database; when it is away, nothing is found or kept."""

    def __init__(self, url: str, space: str, failed: Callable[[], None] = lambda: None) -> None:
        """Connect at the first use.

        Args:
            url: ``redis://[:PASSWORD@]HOST:PORT/DATABASE``, or ``rediss://``.
            space: Begins every name, so that services do not find each other's values.
            failed: Called when Redis did not answer.

        Raises:
            ConfigError: It is no such URL, or the package is missing.
        """
        self.where = url_without_credentials(url)
        self._client, self._errors = _client(url, self.where)
        self._space, self._failed = space, failed
        self._away_until = 0.0

    def get(self, name: str) -> bytes | None:
        """What was put under a name; None if it is not there."""
        found = self._try(lambda: self._client.get(self._space + name))
        return found if isinstance(found, bytes) else None

    def put(self, name: str, value: bytes) -> None:
        """Keep a value for an hour at most."""
        self._try(lambda: self._client.set(self._space + name, value, ex=_LASTS_S))

    def check(self) -> None:
        """See that Redis answers.

        Raises:
            StoreError: It does not.
        """
        try:
            self._client.ping()
        except self._errors as error:
            raise StoreError(
                "Redis does not answer",
                received=f"{self.where}: {type(error).__name__}",
                way_out="Start it (redis-server), correct --store, or leave --store out: each "
                "worker then keeps answers of its own",
            ) from None  # the message of the cause may hold the password

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _try(self, work: Callable[[], T]) -> T | None:
        if time.monotonic() < self._away_until:
            return None
        try:
            return work()
        except self._errors as error:
            self._away_until = time.monotonic() + _REST_S
            self._failed()
            _LOG.warning("Redis at %s: %s; answering without it", self.where, type(error).__name__)
            return None


def url_without_credentials(url: str) -> str:
    """A URL without user and password.

    Raises:
        ConfigError: It is no URL of Redis.
    """
    try:
        parts = urlsplit(url)
        address = f"{parts.hostname}:{parts.port or 6379}"
    except ValueError:
        parts, address = urlsplit(""), ""
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigError(
            "This is no address of a store",
            received=f"{parts.scheme or 'something else'}://...",
            way_out="Write redis://127.0.0.1:6379/0, or rediss:// for TLS",
        )
    return f"{parts.scheme}://{address}{parts.path}"


def _client(url: str, where: str) -> "tuple[Redis, tuple[type[Exception], ...]]":
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
        from redis.retry import Retry
    except ImportError as error:
        raise ConfigError(
            "The package redis is not installed",
            received=where,
            way_out="pip install 'chronotope[scale]'",
        ) from error
    told: dict[str, Any] = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
    try:
        client = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **told)
    except ValueError:
        raise ConfigError("The address of Redis is wrong", received=where) from None
    return client, (RedisError, OSError)
