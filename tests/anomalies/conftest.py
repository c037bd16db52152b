"""A small log of payments in which some amounts and hours are not their user's."""

from dataclasses import dataclass

import numpy as np
import pytest

from chronotope.anomalies import EventLabels, FeatureTable, ItemPlaces, behaviour_features
from chronotope.anomalies.detector import GraphDetector
from chronotope.anomalies.fit_detectors import AutoencoderDetector
from chronotope.contracts.event_log import EventLog
from chronotope.training.anomaly import NetworkConfig

N_EVENTS, N_USERS, N_ITEMS, DAYS = 4_000, 40, 25, 60
NETWORK = NetworkConfig(n_epochs=3, n_hidden=16, batch_size=128)


@dataclass(frozen=True)
class Payments:
    log: EventLog
    labels: EventLabels
    places: ItemPlaces


def make_payments(seed: int = 0, *, anomalous_share: float = 0.02) -> Payments:
    rng = np.random.default_rng(seed)
    user = rng.integers(1, N_USERS + 1, N_EVENTS)
    is_anomalous = rng.random(N_EVENTS) < anomalous_share
    amount = rng.normal(20 + 2 * user, 3) * np.where(is_anomalous, 6, 1)
    log = EventLog.sorted(
        user_idx=user,
        item_idx=rng.integers(1, N_ITEMS + 1, N_EVENTS),
        occurred_s=1_700_000_000 + rng.integers(0, DAYS * 86_400, N_EVENTS),
        value=amount,
        context={"label": is_anomalous},
    )
    labels = EventLabels(log.context["label"].astype(float), np.ones(N_EVENTS, bool))
    lat, lon = rng.uniform(48, 48.2, N_ITEMS + 1), rng.uniform(16, 16.3, N_ITEMS + 1)
    return Payments(log, labels, ItemPlaces(lat, lon))


@pytest.fixture(scope="session")
def payments() -> Payments:
    return make_payments()


@pytest.fixture(scope="session")
def features(payments: Payments) -> FeatureTable:
    return behaviour_features(payments.log, payments.places)


@pytest.fixture(scope="session")
def autoencoder(features: FeatureTable) -> GraphDetector:
    return AutoencoderDetector(NETWORK).fit(features)
