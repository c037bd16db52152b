"""Train once more, with the chosen parameters, on everything before the holdout."""

from pathlib import Path
from typing import Any

from chronotope.features.snapshot import load_features
from chronotope.pipelines.holdout import frozen_folds
from chronotope.pipelines.search import configs_from_params
from chronotope.pipelines.settings import TrainSettings
from chronotope.training.recommender import ChronotopeRecommender


def train_final(
    features: Path,
    settings: TrainSettings,
    run: Path,
    params: dict[str, Any],
    *,
    progress: bool = False,
) -> str:
    """Train and keep the model; a training that was cut off resumes its checkpoint.

    Returns:
        Path of the file that ``ChronotopeRecommender.load`` reads.
    """
    log, catalog = load_features(features)
    model_config, training_config = configs_from_params(params, settings)
    model = ChronotopeRecommender(
        model_config, training_config, folder=run / "checkpoints", progress=progress
    )
    model.fit(log.before(frozen_folds(run).holdout.train_end_s), catalog)
    path = run / "model.pt"
    model.save(path)
    return str(path)
