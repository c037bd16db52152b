"""Detectors that can be fitted: autoencoder, GAN, surprise, ensemble, and supervised trees."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from chronotope.anomalies.behaviour_features import EventLabels, FeatureTable
from chronotope.anomalies.config import DetectorConfig, DetectorName, TreesConfig
from chronotope.anomalies.detector import (
    Detector,
    EnsembleDetector,
    GraphDetector,
)
from chronotope.anomalies.recommender_surprise import (
    RECOMMENDER_FEATURES,
    UNLIKELY_EVENT,
    UNLIKELY_ITEM,
    UNLIKELY_ITEM_RUN,
    UNLIKELY_USER_RUN,
)
from chronotope.anomalies.score_graph import (
    BiganLayers,
    Standardisation,
    autoencoder_graph,
    bigan_graph,
    column_graph,
    trees_graph,
)
from chronotope.contracts.errors import DataError
from chronotope.models.anomaly.dense_layers import dense_layers
from chronotope.training.anomaly import NetworkConfig, fit_autoencoder, fit_bigan

DISCRIMINATOR_WEIGHT: Final = 0.1
"""Weight of the discriminator's features in the score of the GAN, as Zenati et al. have it."""

SURPRISE_COLUMNS: Final = (
    UNLIKELY_ITEM,
    UNLIKELY_EVENT,
    UNLIKELY_USER_RUN,
    UNLIKELY_ITEM_RUN,
    "surprise_of_latest_8",
    "speed",
)
"""Features whose surprises the surprise detector sums up; the last two need coordinates."""

MIN_TRAINING_EVENTS: Final = 100


def make_detector(name: DetectorName, config: DetectorConfig) -> Detector:
    """Detector by name.

    Args:
        name: ``autoencoder``, ``gan``, ``surprise``, ``ensemble`` or ``supervised``.
        config: Settings.
    """
    networks = (AutoencoderDetector(config.network), GanDetector(config.network))
    detectors: dict[DetectorName, Detector] = {
        "autoencoder": networks[0],
        "gan": networks[1],
        "surprise": SurpriseDetector(),
        "ensemble": UnsupervisedEnsemble(networks),
        "supervised": SupervisedDetector(config.trees),
    }
    return detectors[name]


@dataclass(frozen=True, slots=True)
class AutoencoderDetector:
    """Error of a denoising autoencoder; reads no labels."""

    config: NetworkConfig
    name: str = "autoencoder"

    def fit(self, features: FeatureTable, labels: EventLabels | None = None) -> GraphDetector:
        """Fit on past events."""
        del labels
        standardisation = _standardisation(features, self.config)
        behaviour_network = fit_autoencoder(standardisation.apply(features.values), self.config)
        network_layers = [
            *dense_layers(behaviour_network.encoder),
            *dense_layers(behaviour_network.decoder),
        ]
        score_graph = autoencoder_graph(standardisation, network_layers)
        return GraphDetector.calibrated(self.name, score_graph, features)


@dataclass(frozen=True, slots=True)
class GanDetector:
    """Error of G(E(x)) and distance in the discriminator's features; reads no labels."""

    config: NetworkConfig
    name: str = "gan"

    def fit(self, features: FeatureTable, labels: EventLabels | None = None) -> GraphDetector:
        """Fit on past events."""
        del labels
        standardisation = _standardisation(features, self.config)
        behaviour_network = fit_bigan(standardisation.apply(features.values), self.config)
        network_layers = BiganLayers(
            tuple(dense_layers(behaviour_network.encoder)),
            tuple(dense_layers(behaviour_network.generator)),
            tuple(dense_layers(behaviour_network.discriminator))[:-1],
        )
        score_graph = bigan_graph(standardisation, network_layers, DISCRIMINATOR_WEIGHT)
        return GraphDetector.calibrated(self.name, score_graph, features)


@dataclass(frozen=True, slots=True)
class SurpriseDetector:
    """Runs of events that are unlikely to a recommender, and impossible speed; reads no labels."""

    name: str = "surprise"

    def fit(self, features: FeatureTable, labels: EventLabels | None = None) -> EnsembleDetector:
        """Calibrate each feature on past events; nothing else is fitted.

        Raises:
            DataError: The events lack the features of the recommender.
        """
        del labels
        if not set(RECOMMENDER_FEATURES) <= set(features.names):
            raise DataError(
                "The surprise detector needs the features of a recommender",
                received=f"{len(features.names)} features without them",
                way_out="Set detector.recommender_features: true, or choose another detector",
            )
        members = [
            GraphDetector.calibrated(name, column_graph(), features.select([name]))
            for name in SURPRISE_COLUMNS
            if name in features.names
        ]
        return EnsembleDetector(tuple(members), self.name)


@dataclass(frozen=True, slots=True)
class UnsupervisedEnsemble:
    """Autoencoder and GAN together, and the surprise of a recommender where there is one."""

    detectors: Sequence[AutoencoderDetector | GanDetector]
    name: str = "ensemble"

    def fit(self, features: FeatureTable, labels: EventLabels | None = None) -> EnsembleDetector:
        """Fit every member on past events; the networks read the behaviour alone."""
        behaviour_names = [name for name in features.names if name not in RECOMMENDER_FEATURES]
        behaviour = features.select(behaviour_names)
        members = tuple(detector.fit(behaviour, labels) for detector in self.detectors)
        if len(behaviour_names) < len(features.names):
            members += SurpriseDetector().fit(features).members
        return EnsembleDetector(members, self.name)


@dataclass(frozen=True, slots=True)
class SupervisedDetector:
    """Gradient-boosted trees on the outcomes that are known by now."""

    config: TreesConfig
    name: str = "supervised"

    def fit(self, features: FeatureTable, labels: EventLabels | None = None) -> GraphDetector:
        """Fit on past events with outcomes.

        Raises:
            DataError: There are no outcomes, or all are the same.
        """
        if labels is None or len(np.unique(labels.is_anomalous[labels.is_labelled])) < 2:
            raise DataError(
                "A supervised detector needs labels of both kinds",
                received="no labels"
                if labels is None
                else f"{int(labels.is_labelled.sum())} of one",
                way_out="Post labels with POST /labels, or choose an unsupervised detector",
            )
        from sklearn.ensemble import HistGradientBoostingClassifier  # takes a second to import

        boosted_trees = HistGradientBoostingClassifier(
            max_iter=self.config.n_trees,
            learning_rate=self.config.learning_rate,
            max_leaf_nodes=self.config.max_leaves,
            l2_regularization=self.config.l2,
            early_stopping=False,
            random_state=self.config.seed,
        )
        boosted_trees.fit(
            features.values[labels.is_labelled], labels.is_anomalous[labels.is_labelled]
        )
        score_graph = trees_graph(
            tree_columns(boosted_trees._predictors),
            float(boosted_trees._baseline_prediction.item()),
            len(features.names),
        )
        return GraphDetector.calibrated(self.name, score_graph, features)


def tree_columns(predictors: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """Attributes of ONNX's TreeEnsembleRegressor from scikit-learn's trees.

    Args:
        predictors: For each iteration the tree of its only output.
    """
    tree_nodes = [tree.nodes for (tree,) in predictors]
    n_nodes = [len(node_array) for node_array in tree_nodes]
    tree_ids = np.repeat(np.arange(len(tree_nodes)), n_nodes)
    node_ids = np.concatenate([np.arange(count) for count in n_nodes])
    node_table = np.concatenate(tree_nodes)
    is_leaf = node_table["is_leaf"].astype(bool)
    # the threshold is rounded down to float32: a float32 feature compares as with the original
    split_threshold = node_table["num_threshold"].astype(np.float32)
    is_above = split_threshold.astype(np.float64) > node_table["num_threshold"]
    split_threshold = np.where(
        is_above, np.nextafter(split_threshold, np.float32(-np.inf)), split_threshold
    )
    return {
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_featureids": node_table["feature_idx"].astype(int).tolist(),
        "nodes_values": np.where(is_leaf, 0, split_threshold).tolist(),
        "nodes_modes": np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_truenodeids": node_table["left"].astype(int).tolist(),
        "nodes_falsenodeids": node_table["right"].astype(int).tolist(),
        "target_treeids": tree_ids[is_leaf].tolist(),
        "target_nodeids": node_ids[is_leaf].tolist(),
        "target_ids": np.zeros(int(is_leaf.sum()), dtype=int).tolist(),
        "target_weights": node_table["value"][is_leaf].tolist(),
    }


def _standardisation(features: FeatureTable, config: NetworkConfig) -> Standardisation:
    if len(features.values) < MIN_TRAINING_EVENTS:
        raise DataError(
            "There are too few events to fit a detector",
            received=len(features.values),
            way_out=f"Train on at least {MIN_TRAINING_EVENTS} events: choose a longer period",
        )
    return Standardisation.of(features.values, config.max_deviations)
