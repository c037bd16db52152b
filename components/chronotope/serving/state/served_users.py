"""Users as the service knows them: pseudonyms of the ids that callers use, and who is excluded."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TypeVar

import numpy as np

from chronotope.contracts.data_version import TableVersion
from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.lake import Lake
from chronotope.lake.privacy import StoredUsers, read_stored_users
from chronotope.lake.table_schemas import ERASED_USERS, OPTED_OUT_USERS, PRIVACY
from chronotope.lake.version_poller import VersionPoller
from chronotope.privacy import coarse_coordinates, coarse_times
from chronotope.serving.api.requests import PostedEvent, PostedImpression, UserRequest

_TABLES = (PRIVACY, OPTED_OUT_USERS, ERASED_USERS)
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

RequestT = TypeVar("RequestT", bound=UserRequest)


class ServedUsers:
    """Privacy settings and lists of the lake, read again when they change."""

    def __init__(
        self, lake: Lake, dataset: str, on_change: Callable[[StoredUsers], None] = lambda _: None
    ) -> None:
        """Read the settings and lists of the lake.

        Args:
            lake: Lake of the dataset.
            dataset: Name of the dataset, for messages.
            on_change: Called when users were erased or have opted out or in.

        Raises:
            ConfigError: The keys of the pseudonyms are missing, or others than those of the lake.
        """
        self._lake, self._dataset, self._on_change = lake, dataset, on_change
        self._poller, self._lock = VersionPoller(lake), Lock()
        self._problem: ConfigError | None = None
        self._versions = self._read_versions()
        self._users = read_stored_users(lake, dataset)

    @property
    def users(self) -> StoredUsers:
        """Settings and lists.

        Raises:
            StoreError: The keys of the lake's pseudonyms have changed.
        """
        if self._problem is not None:
            raise StoreError(
                self._problem.problem,
                received=self._problem.received,
                way_out="Restart the service with the keys of the lake",
            )
        return self._users

    def refresh(self) -> None:
        """Read what has changed in the lake."""
        with self._lock:
            versions = self._read_versions()
            if versions == self._versions and self._problem is None:
                return
            try:
                users = read_stored_users(self._lake, self._dataset)
            except ConfigError as error:
                self._problem = error
                return
            known = self._users
            self._users, self._versions, self._problem = users, versions, None
        if (users.opted_out, users.erased) != (known.opted_out, known.erased):
            self._on_change(users)

    def as_stored(self, user_request: RequestT) -> tuple[RequestT, bool]:
        """A request with the stored id and coarse coordinates, and whether its user is excluded.

        An excluded user is answered as somebody without a history.

        Args:
            user_request: The request.
        """
        users = self.users
        updates: dict[str, object] = {}
        updates |= self._stored_place(user_request.lat, user_request.lon)
        if user_request.user_id is None:
            return (user_request.model_copy(update=updates) if updates else user_request), False
        stored_id = users.stored_id(user_request.user_id)
        is_excluded = users.is_excluded(stored_id)
        if is_excluded:
            updates |= {"user_id": None, "history": []}
        elif stored_id != user_request.user_id:
            updates["user_id"] = stored_id
        return (user_request.model_copy(update=updates) if updates else user_request), is_excluded

    def stored_event(self, event: PostedEvent, offset_min: int = 0) -> PostedEvent | None:
        """An event as it may be stored; None for an excluded user.

        Args:
            event: The posted event.
            offset_min: Offset of the users' clocks where the event has none, minutes.
        """
        users = self.users
        stored_id = users.stored_id(event.user_id)
        if users.is_excluded(stored_id):
            return None
        updates: dict[str, object] = {"user_id": stored_id}
        updates |= self._stored_place(event.lat, event.lon)
        offset = offset_min if event.utc_offset_min is None else event.utc_offset_min
        updates["occurred_at"] = self.stored_time(event.occurred_at, offset)
        return event.model_copy(update=updates)

    def stored_impression(self, impression: PostedImpression) -> PostedImpression | None:
        """A posted impression as it may be stored; None for an excluded user.

        Args:
            impression: The posted impression.
        """
        updates: dict[str, object] = {"shown_at": self.stored_time(impression.shown_at)}
        if impression.user_id is not None:
            stored_id = self.users.stored_id(impression.user_id)
            if self.users.is_excluded(stored_id):
                return None
            updates["user_id"] = stored_id
        return impression.model_copy(update=updates)

    def stored_time(self, moment: datetime, offset_min: int = 0) -> datetime:
        """A time as it may be stored.

        Args:
            moment: The time, with a time zone.
            offset_min: Minutes of the user's clock ahead of UTC.
        """
        resolution_min = self.users.settings.time_resolution_min
        if resolution_min is None:
            return moment
        moment_us = (moment - _UNIX_EPOCH) // timedelta(microseconds=1)
        coarse_us = coarse_times(np.array([moment_us]), [offset_min], resolution_min)
        return _UNIX_EPOCH + timedelta(microseconds=int(coarse_us[0]))

    def _stored_place(self, lat: float | None, lon: float | None) -> dict[str, object]:
        """Coarse coordinates, as fields to update; a coordinate without the other is left out."""
        resolution = self.users.settings.h3_resolution
        if resolution is None or (lat is None and lon is None):
            return {}
        if lat is None or lon is None:
            return {"lat": None, "lon": None}
        lat_deg, lon_deg = coarse_coordinates(lat=[lat], lon=[lon], resolution=resolution)[0]
        return {"lat": float(lat_deg), "lon": float(lon_deg)}

    def _read_versions(self) -> tuple[TableVersion | None, ...]:
        return tuple(self._poller.version(table_name) for table_name in _TABLES)
