"""What a version would have answered to questions that were asked before."""

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
    """A service of one version, which nobody sees and which logs nothing."""

    def __init__(self, settings: ServeSettings, version: str, *, load: Any = load_version) -> None:
        """Open the version over the lake and the interaction log as they are now.

        Args:
            settings: Of the service whose questions are asked again.
            version: Of the registry.
            load: Opens a version.

        Raises:
            StoreError: It does not answer.
            ConfigError: It does not know the probabilities of what it shows.
        """

        def champion(root: Path, dataset: str) -> Champion:
            opened: Champion = load(root, dataset, version)
            return opened

        silent = settings.model_copy(update={"log_answers": False, "experiment": None})
        self._service = Service(silent, champion, lambda *_: version, load)
        self._service.watcher.look()
        self.version = version
        model = self._service.watcher.opened.champion.model
        if isinstance(model, IndexedRecommender):
            self._service.log.close()
            raise ConfigError(
                "A version that finds its items by an index cannot be judged by old lists",
                received=f"version {version}",
                way_out="Its probabilities are not known: let it take part in an experiment",
            )
        self.trained_until_s = model.manifest.trained_until_s

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the log."""
        self._service.log.close()

    def listed(self, user_id: str, at: str, question: dict[str, Any]) -> list[tuple[str, float]]:
        """The best items and their probabilities; none if the question cannot be answered.

        Args:
            user_id: Who asked.
            at: The moment, ISO 8601; only what happened before it is known.
            question: What was asked beside that; nothing is drawn at random now.
        """
        told = {**question, "user_id": user_id, "at": at, "explore": False}
        try:
            asked = RecommendRequest.model_validate(told)
            said = self._service.recommending.recommend(asked)
        except (ValidationError, ChronotopeError):
            return []
        return [(item.id, p) for item in said.items if (p := item.probability) is not None]
