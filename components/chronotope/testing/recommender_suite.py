"""Test suite that the tests of every recommender inherit."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from chronotope.content.content_axes import project_items
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_content import ItemContent
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import Queries, queries_at

N_USERS, N_ITEMS, N_EVENTS = 12, 15, 400
START_S, HOUR_S = 1_600_000_000, 3_600


def sample_catalog() -> Catalog:
    """Fifteen items on a line, in three categories."""
    items = IdMap.of([f"i{n:02d}" for n in range(N_ITEMS)])
    degrees = np.r_[np.nan, 40.0 + 0.01 * np.arange(N_ITEMS)]
    return Catalog(
        users=IdMap.of([f"u{n:02d}" for n in range(N_USERS)]),
        items=items,
        places=items,
        categories=IdMap.of(["a", "b", "c"]),
        item_category=np.r_[0, 1 + np.arange(N_ITEMS) % 3].astype(np.int32),
        item_lat=degrees,
        item_lon=-degrees,
        place_lat=degrees,
        place_lon=-degrees,
        items_are_places=True,
    )


def sample_log(seed: int = 0) -> EventLog:
    """Events of known users over a few weeks, with skewed items and some baskets."""
    random_generator = np.random.default_rng(seed)
    items = 1 + np.minimum(random_generator.geometric(0.2, N_EVENTS) - 1, N_ITEMS - 1)
    return EventLog.sorted(
        user_idx=random_generator.integers(1, N_USERS + 1, N_EVENTS),
        item_idx=items,
        place_idx=items,
        occurred_s=START_S + HOUR_S * random_generator.integers(0, 24 * 28, N_EVENTS),
    )


def padded(queries: Queries, width: int) -> Queries:
    """Queries with more padding on the left."""
    margins = ((0, 0), (width, 0))
    return replace(
        queries,
        item_idx=np.pad(queries.item_idx, margins),
        occurred_s=np.pad(queries.occurred_s, margins),
        utc_offset_min=np.pad(queries.utc_offset_min, margins),
        place_idx=np.pad(queries.place_idx, margins),
    )


def close(left: npt.NDArray[np.floating], right: npt.NDArray[np.floating]) -> None:
    """Assert equality up to the rounding of float32."""
    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


class RecommenderSuite:
    """Inherit, override ``model`` and, for a model without state, ``has_state``."""

    has_state = True

    def model(self) -> Recommender:
        """A fresh, unfitted model."""
        raise NotImplementedError

    @pytest.fixture
    def log(self) -> EventLog:
        return sample_log()

    @pytest.fixture
    def fitted(self, log: EventLog) -> Recommender:
        return self.model().fit(log, sample_catalog())

    def ask(self, model: Recommender, log: EventLog, positions: list[int]) -> Queries:
        """Queries at some events, with the history that the model reads."""
        event_positions = np.asarray(positions, dtype=np.int64)
        return queries_at(log, event_positions, history_len=model.history_len, time_given=True)

    def test_satisfies_the_protocol(self) -> None:
        assert isinstance(self.model(), Recommender)

    def test_scores_the_whole_catalogue(self, fitted: Recommender, log: EventLog) -> None:
        item_scores = fitted.scores(self.ask(fitted, log, [50, 200, 399]))
        assert item_scores.shape == (3, N_ITEMS + 1)
        assert np.isfinite(item_scores[:, 1:]).all()

    def test_is_deterministic(self, fitted: Recommender, log: EventLog) -> None:
        again = self.model().fit(log, sample_catalog())
        query_batch = self.ask(fitted, log, [50, 200])
        np.testing.assert_array_equal(fitted.scores(query_batch), again.scores(query_batch))

    def test_batch_equals_single(self, fitted: Recommender, log: EventLog) -> None:
        batch_scores = fitted.scores(self.ask(fitted, log, [40, 90, 300]))
        single_scores = [fitted.scores(self.ask(fitted, log, [p])) for p in (40, 90, 300)]
        close(batch_scores, np.concatenate(single_scores))

    def test_padding_does_not_matter(self, fitted: Recommender, log: EventLog) -> None:
        query_batch = self.ask(fitted, log, [60, 250])
        close(fitted.scores(padded(query_batch, 3)), fitted.scores(query_batch))

    def test_answers_a_cold_start_user_without_history(
        self, fitted: Recommender, log: EventLog
    ) -> None:
        first = self.ask(fitted, log, [0])
        cold_start_query = replace(first, user_idx=np.zeros(1, np.int32))
        assert np.isfinite(fitted.scores(cold_start_query)[:, 1:]).all()

    def test_answers_after_an_unknown_item(self, fitted: Recommender, log: EventLog) -> None:
        query_batch = self.ask(fitted, log, [60])
        items = query_batch.item_idx.copy()
        items[:, -1] = 0
        item_scores = fitted.scores(replace(query_batch, item_idx=items, place_idx=items))
        assert np.isfinite(item_scores[:, 1:]).all()

    def test_later_events_do_not_matter(self, fitted: Recommender, log: EventLog) -> None:
        position = 200
        later = np.arange(len(log)) >= log.basket_start()[position]
        changed = replace(log, item_idx=np.where(later, 1, log.item_idx).astype(np.int32))
        before = fitted.scores(self.ask(fitted, log, [position]))
        np.testing.assert_array_equal(
            fitted.scores(self.ask(fitted, changed, [position])),
            before,
        )

    def test_observing_takes_effect(self, log: EventLog) -> None:
        early = log.before(START_S + 24 * 14 * HOUR_S)
        model = self.model().fit(early, sample_catalog())
        query_batch = self.ask(model, log, [60, 250])
        before = model.scores(query_batch)
        model.observe(log)
        assert np.array_equal(before, model.scores(query_batch)) != self.has_state

    def test_fitting_leaves_the_log_alone(self, log: EventLog) -> None:
        self.model().fit(log, sample_catalog())
        np.testing.assert_array_equal(log.item_idx, sample_log().item_idx)


def sample_content(catalog: Catalog, seed: int = 0) -> ItemContent:
    """Vectors of two modalities for a catalogue; every fourth item lacks the second.

    Args:
        catalog: The catalogue.
        seed: Seed of the vectors.
    """
    random_generator = np.random.default_rng(seed)
    row_vectors = {
        "text": random_generator.normal(size=(catalog.n_items, 6)).astype(np.float32),
        "image": random_generator.normal(size=(catalog.n_items, 4)).astype(np.float32),
    }
    row_vectors["image"][::4] = 0.0
    for rows in row_vectors.values():
        rows[0] = 0.0
    return project_items(row_vectors, {"text": "minilm@1", "image": "lite@2"})
