"""Redis cache shared by all workers; entries may be lost at any time."""

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
_TIMEOUT_S = 0.25  # computing a response takes less time
_RETRY_AFTER_S = 1.0  # after an error, so that not every request waits for the timeout
_TTL_S = 3600  # entries of old versions expire

ResultT = TypeVar("ResultT")


class RedisCache:
    """Cache in one Redis database; while it is unavailable every lookup is a miss."""

    def __init__(
        self, redis_url: str, key_prefix: str, count_failure: Callable[[], None] = lambda: None
    ) -> None:
        """Connect at the first use.

        Args:
            redis_url: ``redis://[:PASSWORD@]HOST:PORT/DATABASE``, or ``rediss://``.
            key_prefix: Prefix of every key, which separates services.
            count_failure: Called after every error of Redis.

        Raises:
            ConfigError: The URL is invalid, or the package redis is missing.
        """
        self.public_url = url_without_credentials(redis_url)
        self._client, self._redis_errors = _redis_client(redis_url, self.public_url)
        self._key_prefix, self._count_failure = key_prefix, count_failure
        self._retry_at_s = 0.0

    def get(self, cache_key: str) -> bytes | None:
        """Value of a key; None if there is none."""
        value = self._try(lambda: self._client.get(self._key_prefix + cache_key))
        return value if isinstance(value, bytes) else None

    def put(self, cache_key: str, value: bytes) -> None:
        """Store a value for one hour."""
        self._try(lambda: self._client.set(self._key_prefix + cache_key, value, ex=_TTL_S))

    def clear(self) -> None:
        """Remove all entries of this service, of all workers."""

        def unlink_entries() -> None:
            for entry_key in self._client.scan_iter(match=f"{self._key_prefix}*", count=1_000):
                self._client.unlink(entry_key)

        self._try(unlink_entries)

    def check(self) -> None:
        """Ping Redis.

        Raises:
            StoreError: Redis does not respond.
        """
        try:
            self._client.ping()
        except self._redis_errors as error:
            raise StoreError(
                "Redis does not respond",
                received=f"{self.public_url}: {type(error).__name__}",
                way_out="Start it (redis-server), correct --store, or leave --store out: each "
                "worker then has only its own cache",
            ) from None  # the message of the cause may hold the password

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _try(self, command: Callable[[], ResultT]) -> ResultT | None:
        if time.monotonic() < self._retry_at_s:
            return None
        try:
            return command()
        except self._redis_errors as error:
            self._retry_at_s = time.monotonic() + _RETRY_AFTER_S
            self._count_failure()
            error_name = type(error).__name__
            _LOG.warning("Redis at %s: %s; serving without it", self.public_url, error_name)
            return None


def url_without_credentials(redis_url: str) -> str:
    """A URL without user and password.

    Raises:
        ConfigError: It is not a URL of Redis.
    """
    try:
        url_parts = urlsplit(redis_url)
        address = f"{url_parts.hostname}:{url_parts.port or 6379}"
    except ValueError:
        url_parts, address = urlsplit(""), ""
    if url_parts.scheme not in _SCHEMES or not url_parts.hostname:
        raise ConfigError(
            "The URL of the store is invalid",
            received=f"{url_parts.scheme}://..." if url_parts.scheme else "no scheme",
            way_out="Write redis://127.0.0.1:6379/0, or rediss:// for TLS",
        )
    return f"{url_parts.scheme}://{address}{url_parts.path}"


def _redis_client(redis_url: str, public_url: str) -> "tuple[Redis, tuple[type[Exception], ...]]":
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
        from redis.retry import Retry
    except ImportError as error:
        raise ConfigError(
            "The package redis is not installed",
            received=public_url,
            way_out="pip install 'chronotope[scale]'",
        ) from error
    timeouts: dict[str, Any] = {
        "socket_timeout": _TIMEOUT_S,
        "socket_connect_timeout": _TIMEOUT_S,
    }
    try:
        client = Redis.from_url(redis_url, retry=Retry(NoBackoff(), 0), **timeouts)
    except ValueError:
        raise ConfigError("The URL of Redis is invalid", received=public_url) from None
    return client, (RedisError, OSError)
