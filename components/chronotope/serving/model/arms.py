"""The arms of an experiment, each held open; one that cannot be opened is the champion."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chronotope.experiments.experiment import ExperimentArm, Exploration
from chronotope.registry.champion import Champion
from chronotope.registry.promotion import CHAMPION
from chronotope.serving.api.responses import ArmState
from chronotope.serving.model.loaded import LoadedChampion
from chronotope.serving.settings import ServeSettings
from chronotope.serving.telemetry import Telemetry

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ArmAssignment:
    """Who answers a user, and how.

    Attributes:
        opened: The model.
        how: How its answers may be drawn.
        arm: Of the experiment; None for whoever takes no part.
        fell_back: Whether the champion stands in for the arm's model.
    """

    opened: LoadedChampion
    how: Exploration
    arm: ExperimentArm | None = None
    fell_back: bool = False


class ExperimentArms:
    """Follows the champion's watcher: whenever that one looks, the arms are looked after."""

    def __init__(
        self,
        settings: ServeSettings,
        telemetry: Telemetry,
        *,
        load: Callable[[Path, str, str], Champion],
        version_of: Callable[[Path, str, str], str],
    ) -> None:
        """Hold nothing yet.

        Args:
            settings: Of the service, with the experiment if there is one.
            telemetry: Counts answers of arms.
            load: Opens a version of a dataset's model.
            version_of: Version that an alias points to.
        """
        self._settings, self._telemetry = settings, telemetry
        self._load, self._version_of = load, version_of
        arms = settings.experiment.arms if settings.experiment else ()
        self._models = {arm.model for arm in arms} - {CHAMPION}
        self._opened: dict[str, LoadedChampion] = {}
        self._problems: dict[str, str] = {}
        self._again: dict[str, tuple[tuple[str, str], float]] = {}

    def look(self, champion: LoadedChampion | None) -> None:
        """Open what is new of each arm's model, over the events that the champion reads."""
        if champion is None:
            return
        for model in self._models:
            try:
                self._look(model, champion)
            except Exception as error:  # one arm's trouble is nobody else's
                if self._problems.get(model) != str(error):
                    _LOG.warning("Model %s of the experiment is not opened: %s", model, error)
                self._problems[model] = str(error)
            self._follow(model, champion)
        if self._settings.experiment:
            for arm in self._settings.experiment.arms:
                is_open = arm.model == CHAMPION or arm.model in self._opened
                self._telemetry.arm_open.labels(arm.name).set(is_open)

    def placed(self, user_id: str | None, champion: LoadedChampion) -> ArmAssignment:
        """Who answers a user; without an experiment or a user id the champion."""
        experiment = self._settings.experiment
        if experiment is None or user_id is None:
            return ArmAssignment(champion, self._settings.exploration)
        arm = experiment.arm_of(user_id)
        placed = self._of(arm, champion)
        self._telemetry.arm_answers.labels(arm.name, "yes" if placed.fell_back else "no").inc()
        return placed

    def shadows(self, user_id: str | None, champion: LoadedChampion) -> tuple[ArmAssignment, ...]:
        """Who answers a user unseen; a shadow that is not open does not."""
        experiment = self._settings.experiment
        if experiment is None or user_id is None or not experiment.shadows:
            return ()
        placed = (self._of(arm, champion) for arm in experiment.shadows_of(user_id))
        return tuple(shadow for shadow in placed if not shadow.fell_back)

    def states(self, champion: LoadedChampion | None) -> tuple[ArmState, ...]:
        """How the arms stand."""
        experiment = self._settings.experiment
        return tuple(
            ArmState(
                name=arm.name,
                mode=arm.mode,
                share=arm.share,
                model=arm.model,
                version=self._of(arm, champion).opened.champion.version if champion else None,
                fell_back=arm.model != CHAMPION and arm.model not in self._opened,
                problem=self._problems.get(arm.model),
            )
            for arm in (experiment.arms if experiment else ())
        )

    def _of(self, arm: ExperimentArm, champion: LoadedChampion) -> ArmAssignment:
        how = arm.explore or self._settings.exploration
        if arm.model == CHAMPION:
            return ArmAssignment(champion, how, arm)
        opened = self._opened.get(arm.model)
        return ArmAssignment(opened or champion, how, arm, fell_back=opened is None)

    def _look(self, model: str, champion: LoadedChampion) -> None:
        root, dataset = self._settings.root, self._settings.dataset
        version = model if model.isdecimal() else self._version_of(root, dataset, model)
        wanted, now = (version, str(champion.data_version)), self._opened.get(model)
        if now is not None and now.key == wanted:
            return
        failed, until = self._again.get(model, (("", ""), 0.0))
        if failed == wanted and time.monotonic() < until:
            return
        self._again[model] = (wanted, time.monotonic() + self._settings.retry_s)
        self._opened[model] = self._open(model, version, champion)
        self._problems.pop(model, None)
        del self._again[model]
        _LOG.info("Model %s of the experiment is version %s", model, version)

    def _follow(self, model: str, champion: LoadedChampion) -> None:
        """Let what answers read the champion's events, also where nothing newer could be opened."""
        now, data = self._opened.get(model), champion.data_version
        if now is None or now.data_version == data:
            return
        try:
            root = self._settings.root
            self._opened[model] = LoadedChampion.over(now.champion, root, champion.histories, data)
        except Exception as error:  # better the champion than a model that misses events
            _LOG.warning("Model %s of the experiment no longer answers: %s", model, error)
            del self._opened[model]

    def _open(self, model: str, version: str, champion: LoadedChampion) -> LoadedChampion:
        if version == champion.champion.version:
            return champion
        now, root = self._opened.get(model), self._settings.root
        same = now is not None and now.champion.version == version
        loaded = now.champion if now and same else self._load(root, self._settings.dataset, version)
        return LoadedChampion.over(loaded, root, champion.histories, champion.data_version)
