"""Rain decides where people go, the moon does not: one column is kept, one is dropped."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from chronotope.content.content_axes import project_items
from chronotope.content.modality_worth import ModalityWorth, WorthInterval
from chronotope.contracts.ids import event_ids
from chronotope.contracts.schemas import EVENTS, INSTANT
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.models.config import ModelConfig
from chronotope.pipelines.results import ColumnSelection
from chronotope.pipelines.search import configs_from_params, freeze_folds
from chronotope.pipelines.select_columns import _shuffled, select_context_columns
from chronotope.pipelines.settings import TrainSettings
from chronotope.splitting.folds import FoldsConfig
from chronotope.testing.recommender_suite import sample_catalog, sample_content
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from tests.training.test_cold_start import tastes

N_USERS, N_EVENTS, HOUR_US = 40, 60, 3_600_000_000
COLUMNS = ("rain", "moon")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """When it rains people go to one of four museums, else to one of four parks."""
    rng = np.random.default_rng(0)
    n_hours = 24 * 60
    rain, moon = rng.integers(0, 2, n_hours), rng.normal(size=n_hours)
    hour = np.sort(rng.choice(n_hours, (N_USERS, N_EVENTS)), axis=1)
    kind = np.where(rain[hour] == 1, "museum", "park")
    item = np.char.add(kind, rng.integers(0, 4, hour.shape).astype(str))
    user = np.repeat(np.arange(N_USERS).astype(str), N_EVENTS)
    at = pa.array(hour.ravel() * HOUR_US + rng.integers(0, HOUR_US, hour.size)).cast(INSTANT)
    columns = {"user_id": pa.array(user), "item_id": pa.array(item.ravel()), "occurred_at": at}
    columns |= {"event_type": pa.repeat("visit", hour.size)}
    columns |= {"event_id": event_ids(list(columns.values()))}
    empty = {f.name: pa.nulls(hour.size, f.type) for f in EVENTS if f.name not in columns}
    began = pa.array(np.arange(n_hours) * HOUR_US)
    readings = pa.table(
        {
            "event_id": pa.array(np.arange(n_hours).astype(str)),
            "occurred_at": began.cast(INSTANT),
            "valid_until": pa.array(np.arange(1, n_hours + 1) * HOUR_US).cast(INSTANT),
            "place_id": pa.nulls(n_hours, pa.string()),
            "rain": pa.array(rain.astype(np.float64)),
            "moon": pa.array(moon),
        }
    )
    ref = build_features(
        pa.table(columns | empty).select(EVENTS.names),
        None,
        config=FeaturesConfig(context_table=COLUMNS),
        out=tmp_path_factory.mktemp("features"),
        readings=readings,
    )
    return ref.path


def settings_at(root: Path, **model: Any) -> TrainSettings:
    return TrainSettings(
        root=root,
        folds=FoldsConfig(k=2),
        model=ModelConfig(history_len=16, **model),
        training=TrainingConfig(max_epochs=4, batch_size=64, learning_rate=0.03),
        max_fold_targets=400,
    )


@pytest.mark.slow
def test_the_column_that_matters_is_kept_and_the_other_dropped(
    features: Path, tmp_path: Path
) -> None:
    settings, run = settings_at(tmp_path), tmp_path / "run"
    freeze_folds(features, settings, run)
    found = select_context_columns(features, settings, run, {})
    assert found.selected == ("rain",)
    lost = {row.name: row.importance for row in found.columns}
    # who knows the weather guesses among four (.52), who does not among eight (.34)
    assert 0.08 < lost["rain"] < 0.25
    assert abs(lost["moon"]) < 0.02


def test_a_log_without_columns_trains_nothing(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChronotopeRecommender, "fit", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr(
        "chronotope.pipelines.select_columns.context_columns", lambda _log, _settings: ()
    )
    found = select_context_columns(features, settings_at(tmp_path), tmp_path, {})
    assert found == ColumnSelection()


def test_readings_arrive_in_the_log(features: Path) -> None:
    log, catalog = load_features(features)
    rained = log.context["rain"] == 1
    museum = np.array([catalog.items.name(i).startswith("museum") for i in log.item_idx])
    np.testing.assert_array_equal(rained, museum)


def test_drawn_columns_become_part_of_the_model(tmp_path: Path) -> None:
    model, _ = configs_from_params({"context": ["rain"], "n_hidden": 8}, settings_at(tmp_path))
    assert (model.context, model.n_hidden) == (("rain",), 8)


def shop(folder: Path) -> Path:
    """Users who want items of one kind, which their texts show and their pictures do not."""
    log, catalog = tastes()
    items = pa.array(np.array(catalog.items.ids.to_pylist())[log.item_idx - 1])
    columns = {
        "user_id": pa.array(log.user_idx.astype(str)),
        "item_id": items,
        "occurred_at": pa.array(log.occurred_s * 1_000_000).cast(INSTANT),
        "event_type": pa.repeat("visit", len(log)),
    }
    columns |= {"event_id": event_ids(list(columns.values()))}
    empty = {f.name: pa.nulls(len(log), f.type) for f in EVENTS if f.name not in columns}
    assert catalog.content is not None
    noise = np.random.default_rng(1).normal(size=(catalog.n_items, 4)).astype(np.float32)
    content = project_items(
        {"text": catalog.content.vectors[1:], "image": noise[1:]}, {"text": "a@1", "image": "b@2"}
    )
    return build_features(
        pa.table(columns | empty).select(EVENTS.names),
        pa.table({"item_id": catalog.items.ids}),
        config=FeaturesConfig(),
        out=folder,
        content=content,
    ).path


@pytest.mark.slow
def test_the_content_that_matters_is_kept_and_the_other_dropped(tmp_path: Path) -> None:
    features, settings = shop(tmp_path / "features"), settings_at(tmp_path)
    freeze_folds(features, settings, tmp_path / "run")
    selection = select_context_columns(features, settings, tmp_path / "run", {})
    worth = {measured.modality: measured for measured in selection.modalities}
    text = worth["text"]
    assert text.helps
    assert text.cold_items is not None
    assert text.cold_items.low > 0.02
    assert not worth["image"].helps
    params = selection.model_params()
    assert params == {"context": [], "content": True, "modalities": ["text"]}
    model, _ = configs_from_params(params, settings)
    assert model.modalities == ("text",)
    metrics = text.metrics()
    assert metrics["text_items_without_events_rr_lost_low"] == text.cold_items.low
    assert len(metrics) == 6


def test_content_that_does_not_help_is_left_out() -> None:
    nothing = WorthInterval(value=0.0, low=-0.1, high=0.1)
    selection = ColumnSelection(
        modalities=(ModalityWorth(modality="text", all_items=nothing, cold_items=None),)
    )
    assert selection.model_params() == {"context": [], "content": False, "modalities": []}
    assert ColumnSelection(selected=("rain",)).model_params() == {"context": ["rain"]}


def test_shuffled_items_exchange_vectors_of_one_kind() -> None:
    content = sample_content(sample_catalog())
    shuffled = _shuffled(content, "image", np.random.default_rng(0))
    n_image = content.axes.n_axes[0]
    np.testing.assert_array_equal(shuffled.vectors[:, n_image:], content.vectors[:, n_image:])
    before, after = content.vectors[:, :n_image], shuffled.vectors[:, :n_image]
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(before.any(axis=1), after.any(axis=1))
    np.testing.assert_array_equal(np.sort(before, axis=0), np.sort(after, axis=0))


@pytest.mark.parametrize(
    ("low_all", "low_cold", "helps"),
    [
        (-0.001, None, False),
        (0.0001, None, True),
        (-0.001, 0.0002, False),
        (-0.001, 0.002, True),
        (0.0, 0.001, False),
    ],
)
def test_a_gain_that_nobody_feels_keeps_no_content(
    low_all: float, low_cold: float | None, helps: bool
) -> None:
    def interval(low: float) -> WorthInterval:
        return WorthInterval(value=low + 0.001, low=low, high=low + 0.002)

    worth = ModalityWorth(
        modality="text",
        all_items=interval(low_all),
        cold_items=None if low_cold is None else interval(low_cold),
    )
    assert worth.helps is helps
