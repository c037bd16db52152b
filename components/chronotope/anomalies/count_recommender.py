"""Recommender of a detector: the pretrained parameters, and priors of the events before the rest.

It is not trained on the log, and not the champion: what it judges must not have taught it. On the
simulated city a recommender that was trained for one pass took bots for habits.
"""

from pathlib import Path

from chronotope.anomalies.behaviour_log import BehaviourLog
from chronotope.anomalies.recommender_surprise import behaviour_catalog, with_places
from chronotope.artifact.bundle import MANIFEST, MODEL, write_bundle
from chronotope.compression.export import export_onnx
from chronotope.contracts.errors import NotEnoughData
from chronotope.training.config import SHIPPED, TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender


def count_recommender(
    behaviour: BehaviourLog, until_s: int, bundle_dir: Path, *, dataset: str, data_version: str
) -> Path:
    """Count the priors of the events before a moment, and store the bundle; returns its folder.

    A folder that is complete is kept.

    Args:
        behaviour: The log.
        until_s: End of the events that are counted, UTC seconds.
        bundle_dir: Folder to write.
        dataset: Name of the dataset, for the manifest.
        data_version: Version of the event table, for the manifest.

    Raises:
        NotEnoughData: There is no event before the moment.
    """
    if (bundle_dir / MANIFEST).is_file():  # it is written last
        return bundle_dir
    earlier_log, item_catalog = with_places(behaviour).before(until_s), behaviour_catalog(behaviour)
    if not len(earlier_log):
        raise NotEnoughData(
            "No events come before those that the recommender of the detector judges",
            received=f"0 of {len(behaviour.log)} events",
            way_out="Shorten train_days, fold_days, n_folds or holdout_days, or set "
            "detector.recommender_features: false",
        )
    training = TrainingConfig(init=SHIPPED, transfer_epochs=0)
    recommender = ChronotopeRecommender(training=training).fit(earlier_log, item_catalog)
    bundle_dir.mkdir(parents=True, exist_ok=True)
    export_onnx(recommender.net, recommender.priors, bundle_dir / MODEL)
    write_bundle(
        bundle_dir,
        item_catalog,
        name="surprise",
        dataset=dataset,
        data_version=data_version,
        history_len=recommender.model.history_len,
        trained_until_s=int(earlier_log.occurred_s.max()),
    )
    return bundle_dir
