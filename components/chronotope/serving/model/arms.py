"""Arms of an experiment: one loaded model each, with the champion as fallback."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chronotope.experiments.experiment import ExperimentArm, Exploration
from chronotope.inference.new_items import NewItemReader
from chronotope.lake.posted import PostedItemContext
from chronotope.registry.champion import Champion
from chronotope.registry.promotion_journal import CHAMPION
from chronotope.serving.api.responses import ArmState
from chronotope.serving.model.loaded import LoadedChampion
from chronotope.serving.settings import ServeSettings
from chronotope.serving.telemetry import Telemetry

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ArmAssignment:
    """Model and exploration that a user is assigned to.

    Attributes:
        loaded_model: The model.
        exploration: How its lists are drawn at random.
        arm: Arm of the experiment; None for users who take no part.
        fell_back: Whether the champion replaces the arm's model.
    """

    loaded_model: LoadedChampion
    exploration: Exploration
    arm: ExperimentArm | None = None
    fell_back: bool = False


class ExperimentArms:
    """Loaded models of all arms, refreshed after every poll of the champion watcher."""

    def __init__(
        self,
        settings: ServeSettings,
        telemetry: Telemetry,
        new_items: NewItemReader | None = None,
        posted_context: PostedItemContext | None = None,
        *,
        load: Callable[[Path, str, str], Champion],
        version_of: Callable[[Path, str, str], str],
    ) -> None:
        """Start without models; ``refresh`` loads them.

        Args:
            settings: Settings of the service, with the experiment if there is one.
            telemetry: Metrics.
            new_items: Reader of the items that the models do not know; None adds none.
            posted_context: Open log of the posted item context, which all models share.
            load: Loader of a version of a dataset's model.
            version_of: Version of an alias.
        """
        self._settings, self._telemetry, self._new_items = settings, telemetry, new_items
        self._posted_context = posted_context
        self._load_version, self._version_of = load, version_of
        self._arms = settings.experiment.arms if settings.experiment else ()
        self._model_refs = {arm.model for arm in self._arms} - {CHAMPION}
        self._loaded_models: dict[str, LoadedChampion] = {}
        self._problems: dict[str, str] = {}
        self._retries: dict[str, tuple[tuple[str, str], float]] = {}

    def refresh(self, champion: LoadedChampion | None) -> None:
        """Load new versions of the arms' models, over the events of the champion.

        Args:
            champion: The loaded champion; nothing happens without one.
        """
        if champion is None:
            return
        for model_ref in self._model_refs:
            try:
                self._load_if_new(model_ref, champion)
            except Exception as error:  # an error of one arm must not affect the others
                if self._problems.get(model_ref) != str(error):
                    _LOG.warning("Model %s of the experiment is not loaded: %s", model_ref, error)
                self._problems[model_ref] = str(error)
            self._follow_data(model_ref, champion)
        for arm in self._arms:
            is_loaded = arm.model == CHAMPION or arm.model in self._loaded_models
            self._telemetry.arm_open.labels(arm.name).set(is_loaded)

    def assign(self, user_id: str | None, champion: LoadedChampion) -> ArmAssignment:
        """Arm of a user; the champion without an experiment or a user id."""
        experiment = self._settings.experiment
        if experiment is None or user_id is None:
            return ArmAssignment(champion, self._settings.exploration)
        arm = experiment.arm_of(user_id)
        assignment = self._assignment(arm, champion)
        fallback_label = "yes" if assignment.fell_back else "no"
        self._telemetry.arm_answers.labels(arm.name, fallback_label).inc()
        return assignment

    def shadow_assignments(
        self, user_id: str | None, champion: LoadedChampion
    ) -> tuple[ArmAssignment, ...]:
        """Shadow arms of a user whose models are loaded."""
        experiment = self._settings.experiment
        if experiment is None or user_id is None or not experiment.shadows:
            return ()
        shadow_arms = experiment.shadows_of(user_id)
        assignments = (self._assignment(arm, champion) for arm in shadow_arms)
        return tuple(shadow for shadow in assignments if not shadow.fell_back)

    def arm_states(self, champion: LoadedChampion | None) -> tuple[ArmState, ...]:
        """States of all arms, for the health endpoints."""
        return tuple(self._arm_state(arm, champion) for arm in self._arms)

    def _arm_state(self, arm: ExperimentArm, champion: LoadedChampion | None) -> ArmState:
        version = None
        if champion is not None:
            version = self._assignment(arm, champion).loaded_model.champion.version
        return ArmState(
            name=arm.name,
            mode=arm.mode,
            share=arm.share,
            model=arm.model,
            version=version,
            fell_back=arm.model != CHAMPION and arm.model not in self._loaded_models,
            problem=self._problems.get(arm.model),
        )

    def _assignment(self, arm: ExperimentArm, champion: LoadedChampion) -> ArmAssignment:
        exploration = arm.explore or self._settings.exploration
        if arm.model == CHAMPION:
            return ArmAssignment(champion, exploration, arm)
        loaded_model = self._loaded_models.get(arm.model)
        fell_back = loaded_model is None
        return ArmAssignment(loaded_model or champion, exploration, arm, fell_back=fell_back)

    def _load_if_new(self, model_ref: str, champion: LoadedChampion) -> None:
        root, dataset = self._settings.root, self._settings.dataset
        version = model_ref if model_ref.isdecimal() else self._version_of(root, dataset, model_ref)
        target = (version, str(champion.data_version))
        loaded_model = self._loaded_models.get(model_ref)
        if loaded_model is not None and loaded_model.target == target:
            return
        failed_target, retry_at = self._retries.get(model_ref, (("", ""), 0.0))
        if failed_target == target and time.monotonic() < retry_at:
            return
        self._retries[model_ref] = (target, time.monotonic() + self._settings.retry_s)
        self._loaded_models[model_ref] = self._load(model_ref, version, champion)
        self._problems.pop(model_ref, None)
        del self._retries[model_ref]
        _LOG.info("Model %s of the experiment is version %s", model_ref, version)

    def _follow_data(self, model_ref: str, champion: LoadedChampion) -> None:
        """Update a loaded model to the champion's data, even if its newer version failed."""
        loaded_model, data_version = self._loaded_models.get(model_ref), champion.data_version
        is_current = loaded_model is not None and (
            loaded_model.data_version == data_version
            and loaded_model.event_store.excluded_ids == champion.event_store.excluded_ids
        )
        if loaded_model is None or (is_current and not _lacks_items(loaded_model, champion)):
            return
        try:
            self._loaded_models[model_ref] = LoadedChampion.load(
                loaded_model.grown.trained,
                self._settings.root,
                champion.event_store,
                data_version,
                self._new_items,
                self._posted_context,
            )
        except Exception as error:  # the champion is better than a model that misses events
            _LOG.warning("Model %s of the experiment is unloaded: %s", model_ref, error)
            del self._loaded_models[model_ref]

    def _load(self, model_ref: str, version: str, champion: LoadedChampion) -> LoadedChampion:
        if version == champion.champion.version:
            return champion
        current, root = self._loaded_models.get(model_ref), self._settings.root
        model_version = (
            current.grown.trained
            if current is not None and current.champion.version == version
            else self._load_version(root, self._settings.dataset, version)
        )
        event_store, data_version = champion.event_store, champion.data_version
        return LoadedChampion.load(
            model_version, root, event_store, data_version, self._new_items, self._posted_context
        )


def _lacks_items(loaded_model: LoadedChampion, champion: LoadedChampion) -> bool:
    """Whether the champion has new items that a model lacks, for no reason of its own."""
    new_items = champion.grown.rows.keys() - loaded_model.item_idx_of.keys()
    return bool(new_items) and loaded_model.grown.problem is None
