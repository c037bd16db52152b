"""Detectors find what is planted, their graphs equal the fitted models, and they say why."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from chronotope.anomalies import FeatureTable, GraphDetector, explain_events, user_scores
from chronotope.anomalies.config import DetectorConfig, TreesConfig
from chronotope.anomalies.detector import open_graph, run_graph
from chronotope.anomalies.fit_detectors import make_detector
from chronotope.anomalies.score_graph import Standardisation, autoencoder_graph
from chronotope.anomalies.score_tail import ScoreTail
from chronotope.contracts.errors import DataError
from chronotope.metrics.anomaly_detection import auroc
from chronotope.models.anomaly import BehaviourAutoencoder
from chronotope.models.anomaly.dense_layers import dense_layers
from chronotope.training.anomaly import NetworkConfig
from tests.anomalies.conftest import NETWORK, Payments

CONFIG = DetectorConfig(network=NETWORK, trees=TreesConfig(n_trees=20))


def detected(payments: Payments, surprise: np.ndarray) -> float:
    return auroc(payments.labels.is_anomalous > 0, surprise)


def test_an_autoencoder_finds_amounts_that_are_not_the_users(
    payments: Payments, features: FeatureTable, autoencoder: GraphDetector
) -> None:
    assert detected(payments, autoencoder.surprise(features)) > 0.93
    shuffle = np.random.default_rng(0).permutation(len(payments.log))
    shuffled = replace(payments.labels, is_anomalous=payments.labels.is_anomalous[shuffle])
    assert (
        0.35 < detected(replace(payments, labels=shuffled), autoencoder.surprise(features)) < 0.65
    )


def test_gan_and_ensemble_find_them_too(payments: Payments, features: FeatureTable) -> None:
    ensemble = make_detector("ensemble", CONFIG).fit(features)
    assert detected(payments, ensemble.surprise(features)) > 0.9
    assert detected(payments, ensemble.members[1].surprise(features)) > 0.85  # type: ignore[attr-defined]


def test_the_same_seed_gives_the_same_scores(
    features: FeatureTable, autoencoder: GraphDetector
) -> None:
    again = make_detector("autoencoder", CONFIG).fit(features)
    np.testing.assert_array_equal(again.surprise(features), autoencoder.surprise(features))


def test_the_graph_of_an_autoencoder_equals_the_network(features: FeatureTable) -> None:
    network = BehaviourAutoencoder(len(features.names), 8, 2)
    standardisation = Standardisation.of(features.values, 5.0)
    layers = [*dense_layers(network.encoder), *dense_layers(network.decoder)]
    scores = run_graph(open_graph(autoencoder_graph(standardisation, layers)), features.values)
    deviations = torch.from_numpy(standardisation.apply(features.values))
    with torch.no_grad():
        errors = (network(deviations) - deviations).square().mean(dim=1).numpy()
    np.testing.assert_allclose(scores, errors, rtol=1e-4)


def test_the_graph_of_trees_equals_scikit_learn(payments: Payments, features: FeatureTable) -> None:
    detector = make_detector("supervised", CONFIG).fit(features, payments.labels)
    assert isinstance(detector, GraphDetector)
    trees = HistGradientBoostingClassifier(
        max_iter=20,
        learning_rate=0.05,
        max_leaf_nodes=8,
        l2_regularization=5.0,
        early_stopping=False,
        random_state=0,
    ).fit(features.values, payments.labels.is_anomalous)
    scores = run_graph(detector.session, features.values)
    np.testing.assert_allclose(scores, trees.decision_function(features.values), rtol=1e-4)
    assert detected(payments, scores) > 0.97


def test_reasons_name_the_amount(
    payments: Payments, features: FeatureTable, autoencoder: GraphDetector
) -> None:
    surprise = np.where(payments.labels.is_anomalous > 0, autoencoder.surprise(features), 0)
    flagged = np.argsort(-surprise)[:20]
    reasons = explain_events(autoencoder, features.take(flagged))
    assert all(1 <= len(event_reasons) <= 3 for event_reasons in reasons)
    is_named = [
        any("amount" in reason.feature for reason in event_reasons) for event_reasons in reasons
    ]
    assert np.mean(is_named) > 0.7
    first = reasons[0][0]
    assert first.contribution > 0
    assert first.value != first.typical_value


def test_scores_of_users_are_those_of_their_most_surprising_event() -> None:
    assert user_scores([0, 2, 2], np.array([1.0, 3.0, 2.0])).tolist() == [1.0, -np.inf, 3.0]


def test_surprise_is_calibrated_and_grows_beyond_the_training_scores() -> None:
    scores = np.random.default_rng(0).exponential(size=20_000)
    tail = ScoreTail.of(scores)
    fresh = np.random.default_rng(1).exponential(size=20_000)
    for level in (0.1, 0.01, 0.001):
        assert (tail.surprise(fresh) > -np.log(level)).mean() == pytest.approx(level, rel=0.35)
    assert tail.surprise(np.array([50.0]))[0] > tail.surprise(np.array([40.0]))[0]


def test_too_few_events_or_labels_are_refused(features: FeatureTable, payments: Payments) -> None:
    with pytest.raises(DataError, match="too few events"):
        make_detector("autoencoder", CONFIG).fit(features.take(np.arange(50)))
    nothing = replace(payments.labels, is_labelled=np.zeros(len(payments.log), bool))
    for labels in (None, nothing):
        with pytest.raises(DataError, match="labels of both kinds"):
            make_detector("supervised", CONFIG).fit(features, labels)
    assert NetworkConfig().n_latent == 2
