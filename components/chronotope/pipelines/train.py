"""Final training: the selected parameters, on every event before the holdout."""

from pathlib import Path
from typing import Any, Final

from chronotope.compression.trace_ahead import Architecture, trace_ahead
from chronotope.content.column_worth import save_worth
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.features.snapshot import load_features
from chronotope.models.content_head import model_catalog
from chronotope.pipelines.holdout import frozen_folds
from chronotope.pipelines.pretraining.start import with_local_checkpoint
from chronotope.pipelines.search import configs_from_params, item_context_params
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.trust.held_out_users import training_log
from chronotope.training.cold_users import MIN_USERS
from chronotope.training.private.private_counts import PrivacyBudget
from chronotope.training.private.private_recommender import PrivateRecommender
from chronotope.training.recommender import ChronotopeRecommender

MODEL_FILE: Final = "model.pt"
"""File of a run with its trained model."""

ITEM_CONTEXT_FILE: Final = "item_context.json"
"""File of a run with the worth of the columns of the item context."""


def train_final_model(
    features: Path,
    settings: TrainSettings,
    run_dir: Path,
    params: dict[str, Any],
    *,
    progress: bool = False,
) -> Path:
    """Train and store the model; a killed training resumes its checkpoint.

    Meanwhile the graphs that the compression will export are traced on another core.

    Args:
        features: Feature snapshot.
        settings: Configs that the parameters override.
        run_dir: Folder of this training, with the frozen folds.
        params: Parameters of the search, with the selected context columns.
        progress: Show a progress bar.

    Returns:
        File that ``ChronotopeRecommender.load`` reads.
    """
    log, item_catalog = load_features(features)
    if settings.privacy.epsilon is not None:
        return train_privately(log, item_catalog, settings, run_dir)
    all_params = {**params, **item_context_params(log, settings)}
    model_config, training_config = configs_from_params(all_params, settings)
    train_end_s = frozen_folds(run_dir).holdout.train_end_s
    known_log = training_log(log, item_catalog, settings, train_end_s)
    model_config = model_config.decided_by(known_log.repeat_share(), item_catalog)
    trace_ahead(
        Architecture(
            model_config,
            model_catalog(item_catalog, model_config),
            has_discovery_head=training_config.discovery_targets > 0,
            compression=settings.compression,
            cache_dir=settings.workspace.cache(),
            has_user_head=training_config.new_user_queries > 0
            and item_catalog.users.size > MIN_USERS,
        )
    )
    model = ChronotopeRecommender(
        model_config,
        training_config,
        checkpoint_dir=run_dir / "checkpoints",
        progress=progress,
        engine=settings.engine,
    )
    model.fit(known_log, item_catalog)
    model_path = run_dir / MODEL_FILE
    model.save(model_path)
    if model.item_context_worth:
        save_worth(model.item_context_worth, run_dir / ITEM_CONTEXT_FILE)
    return model_path


def train_privately(
    log: EventLog, catalog: Catalog, settings: TrainSettings, run_dir: Path
) -> Path:
    """Release noisy counts beside the parameters of a checkpoint, and store the model.

    Args:
        log: All events.
        catalog: Its catalogue.
        settings: Budget, checkpoint and held-out users.
        run_dir: Folder of this training, with the frozen folds.

    Returns:
        File that ``ChronotopeRecommender.load`` reads.

    Raises:
        ConfigError: There is no budget.
    """
    privacy = settings.privacy
    if privacy.epsilon is None:
        raise ConfigError("A private training needs a budget", way_out="Set privacy.epsilon")
    training = with_local_checkpoint(settings.training, settings)
    model = PrivateRecommender(
        PrivacyBudget(privacy.epsilon, privacy.delta),
        history_len=settings.model.history_len,
        init=training.init,
        private_training=privacy.training,
    )
    train_end_s = frozen_folds(run_dir).holdout.train_end_s
    model.fit(training_log(log, catalog, settings, train_end_s), catalog)
    model_path = run_dir / MODEL_FILE
    model.save(model_path)
    return model_path
