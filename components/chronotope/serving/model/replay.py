"""Request replay: lists of one model version for logged requests, for off-policy evaluation."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from chronotope.artifact.indexed_recommender import IndexedRecommender
from chronotope.contracts.errors import ChronotopeError, ConfigError
from chronotope.registry.champion import Champion, load_version
from chronotope.serving.api.app import Service
from chronotope.serving.api.requests import RecommendRequest
from chronotope.serving.settings import ServeSettings


class RequestReplay(AbstractContextManager["RequestReplay"]):
    """In-process service of one version that logs nothing."""

    def __init__(self, settings: ServeSettings, version: str, *, load: Any = load_version) -> None:
        """Load the version over the lake and the interaction log as they are now.

        Args:
            settings: Settings of the service whose requests are replayed.
            version: Version of the registry.
            load: Loader of a version.

        Raises:
            StoreError: The version cannot be loaded.
            ConfigError: The version finds items by an index and has no probabilities.
        """

        def load_replayed(root: Path, dataset: str) -> Champion:
            champion: Champion = load(root, dataset, version)
            return champion

        replay_settings = settings.model_copy(update={"log_impressions": False, "experiment": None})
        self._service = Service(replay_settings, load_replayed, lambda *_: version, load)
        self._service.watcher.poll()
        self.version = version
        model = self._service.watcher.loaded_champion.champion.model
        if isinstance(model, IndexedRecommender):
            self._service.interaction_log.close()
            raise ConfigError(
                "A version with an item index cannot be evaluated off-policy",
                received=f"version {version}",
                way_out="It has no probabilities: compare it in an experiment instead",
            )
        self.trained_until_s = model.manifest.trained_until_s

    def __enter__(self) -> Self:
        """Enter the context; returns the service itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the interaction log."""
        self._service.interaction_log.close()

    def listed(
        self, user_id: str, shown_at: str, logged_request: dict[str, Any]
    ) -> list[tuple[str, float]]:
        """Ranked items and their probabilities; empty if the request is invalid now.

        Args:
            user_id: External id.
            shown_at: Request time, ISO 8601; only earlier events are read.
            logged_request: Other fields of the logged request; the list is not drawn at random.
        """
        request_fields = {
            **logged_request,
            "user_id": user_id,
            "request_time": shown_at,
            "explore": False,
        }
        try:
            recommend_request = RecommendRequest.model_validate(request_fields)
            response = self._service.recommend_endpoint.recommend(recommend_request)
        except (ValidationError, ChronotopeError):
            return []
        return [
            (item.id, item.probability) for item in response.items if item.probability is not None
        ]
