"""Start of a training from a checkpoint, or without any training."""

from chronotope.pipelines.settings import TrainSettings
from chronotope.training.config import REGISTRY_SCHEME, SHIPPED, TrainingConfig


def with_local_checkpoint(training: TrainingConfig, settings: TrainSettings) -> TrainingConfig:
    """Configuration whose start is a local path instead of an address in the registry.

    Args:
        training: Configuration of a training.
        settings: Settings with the root of the registry.

    Raises:
        StoreError: There is no such version.
    """
    if not training.init.startswith(REGISTRY_SCHEME):
        return training
    # a training without an address does not wait for the import of MLflow
    from chronotope.registry.mlflow_store import open_store
    from chronotope.registry.pretrained_models import registered_checkpoint

    checkpoint = registered_checkpoint(open_store(settings.workspace.mlruns), training.init)
    return training.model_copy(update={"init": str(checkpoint)})


def retraining_settings(settings: TrainSettings) -> TrainSettings:
    """Settings of a champion for its retraining: one that was not trained is trained now.

    Args:
        settings: Settings of the champion.
    """
    if not settings.training.is_zero_shot:
        return settings
    n_epochs = TrainingConfig.model_fields["transfer_epochs"].default
    training = settings.training.model_copy(update={"transfer_epochs": n_epochs})
    return settings.model_copy(update={"training": training})


def zero_shot_settings(settings: TrainSettings) -> TrainSettings:
    """Settings that count the priors of the log and train nothing.

    The parameters are those of the checkpoint of the settings, by default the one of the package.
    Without a training there is nothing to search, nothing to distil, and no weights for context
    columns and content.

    Args:
        settings: Settings of a training.
    """
    training, compression = settings.training, settings.compression
    init = training.init if training.is_pretrained else SHIPPED
    model_fields = {"context": (), "content": False, "category_head": False, "backbone": "none"}
    updates = {
        "training": training.model_copy(update={"init": init, "transfer_epochs": 0}),
        "model": settings.model.model_copy(update={**model_fields, "kernels": True}),
        "folds": settings.folds.model_copy(update={"k": 1}),
        "study": settings.study.model_copy(update={"n_trials": 1}),
        "backbones": ("none",),
        "compression": compression.model_copy(
            update={
                "variants": ("int8_tables",),
                "pruned_weights": 0.0,
                "pruned_units": 0.0,
                "student": False,
                "n_trials": 0,
            }
        ),
        "max_fold_targets": min(1_000, settings.max_fold_targets),
        "max_holdout_targets": min(4_000, settings.max_holdout_targets),
    }
    return settings.model_copy(update=updates)
