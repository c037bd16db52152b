"""Detectors that can be fitted: autoencoder, GAN, ensemble of both, and supervised trees."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from chronotope.anomalies.behaviour_features import EventLabels, FeatureTable
from chronotope.anomalies.config import DetectorConfig, DetectorName, TreesConfig
from chronotope.anomalies.detector import (
    Detector,
    EnsembleDetector,
    GraphDetector,
)
from chronotope.anomalies.score_graph import (
    BiganLayers,
    Standardisation,
    autoencoder_graph,
    bigan_graph,
    trees_graph,
)
from chronotope.contracts.errors import DataError
from chronotope.models.anomaly.dense_layers import dense_layers
from chronotope.training.anomaly import NetworkConfig, fit_autoencoder, fit_bigan

DISCRIMINATOR_WEIGHT: Final = 0.1
"""Weight of the discriminator's features in the score of the GAN, as Zenati et al. have it."""

MIN_TRAINING_EVENTS: Final = 100


def make_detector(name: DetectorName, config: DetectorConfig) -> Detector:
    """Detector by name.

    Args:
        name: ``autoencoder``, ``gan``, ``ensemble`` or ``supervised``.
        config: Settings.
    """
    unsupervised = (AutoencoderDetector(config.network), GanDetector(config.network))
    detectors: dict[DetectorName, Detector] = {
        "autoencoder": unsupervised[0],
        "gan": unsupervised[1],
        "ensemble": UnsupervisedEnsemble(unsupervised),
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
        network = fit_autoencoder(standardisation.apply(features.values), self.config)
        layers = [*dense_layers(network.encoder), *dense_layers(network.decoder)]
        graph = autoencoder_graph(standardisation, layers)
        return GraphDetector.calibrated(self.name, graph, features)


@dataclass(frozen=True, slots=True)
class GanDetector:
    """Error of G(E(x)) and distance in the discriminator's features; reads no labels."""

    config: NetworkConfig
    name: str = "gan"

    def fit(self, features: FeatureTable, labels: EventLabels | None = None) -> GraphDetector:
        """Fit on past events."""
        del labels
        standardisation = _standardisation(features, self.config)
        network = fit_bigan(standardisation.apply(features.values), self.config)
        layers = BiganLayers(
            tuple(dense_layers(network.encoder)),
            tuple(dense_layers(network.generator)),
            tuple(dense_layers(network.discriminator))[:-1],
        )
        graph = bigan_graph(standardisation, layers, DISCRIMINATOR_WEIGHT)
        return GraphDetector.calibrated(self.name, graph, features)


@dataclass(frozen=True, slots=True)
class UnsupervisedEnsemble:
    """Autoencoder and GAN together."""

    detectors: Sequence[AutoencoderDetector | GanDetector]
    name: str = "ensemble"

    def fit(self, features: FeatureTable, labels: EventLabels | None = None) -> EnsembleDetector:
        """Fit every member on past events."""
        members = tuple(detector.fit(features, labels) for detector in self.detectors)
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
        trees = HistGradientBoostingClassifier(
            max_iter=self.config.n_trees,
            learning_rate=self.config.learning_rate,
            max_leaf_nodes=self.config.max_leaves,
            l2_regularization=self.config.l2,
            early_stopping=False,
            random_state=self.config.seed,
        )
        trees.fit(features.values[labels.is_labelled], labels.is_anomalous[labels.is_labelled])
        graph = trees_graph(
            tree_columns(trees._predictors),
            float(trees._baseline_prediction.item()),
            len(features.names),
        )
        return GraphDetector.calibrated(self.name, graph, features)


def tree_columns(predictors: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """Attributes of ONNX's TreeEnsembleRegressor from scikit-learn's trees.

    Args:
        predictors: For each iteration the tree of its only output.
    """
    nodes = [tree.nodes for (tree,) in predictors]
    n_nodes = [len(tree_nodes) for tree_nodes in nodes]
    tree_ids = np.repeat(np.arange(len(nodes)), n_nodes)
    node_ids = np.concatenate([np.arange(count) for count in n_nodes])
    table = np.concatenate(nodes)
    is_leaf = table["is_leaf"].astype(bool)
    # the threshold is rounded down to float32: a float32 feature compares as with the original
    threshold = table["num_threshold"].astype(np.float32)
    is_above = threshold.astype(np.float64) > table["num_threshold"]
    threshold = np.where(is_above, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    return {
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_featureids": table["feature_idx"].astype(int).tolist(),
        "nodes_values": np.where(is_leaf, 0, threshold).tolist(),
        "nodes_modes": np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_truenodeids": table["left"].astype(int).tolist(),
        "nodes_falsenodeids": table["right"].astype(int).tolist(),
        "target_treeids": tree_ids[is_leaf].tolist(),
        "target_nodeids": node_ids[is_leaf].tolist(),
        "target_ids": np.zeros(int(is_leaf.sum()), dtype=int).tolist(),
        "target_weights": table["value"][is_leaf].tolist(),
    }


def _standardisation(features: FeatureTable, config: NetworkConfig) -> Standardisation:
    if len(features.values) < MIN_TRAINING_EVENTS:
        raise DataError(
            "There are too few events to fit a detector",
            received=len(features.values),
            way_out=f"Train on at least {MIN_TRAINING_EVENTS} events: choose a longer period",
        )
    return Standardisation.of(features.values, config.max_deviations)
