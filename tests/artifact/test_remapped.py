"""A champion of an earlier catalogue is asked in its own ids and judged in today's."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import numpy.typing as npt

from chronotope.artifact.bundle import Vocabulary
from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.artifact.remapped import RemappedRecommender
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_context import ItemContextColumn
from chronotope.contracts.queries import Queries, queries_at
from chronotope.testing.recommender_suite import sample_catalog, sample_log

OLD = IdMap.of([f"i{n:02d}" for n in (0, 2, 3)])  # of i00 .. i14


PROMO = ItemContextColumn(name="promo", first=1, levels=("b", "a"), default="no")
OLD_PROMO = ItemContextColumn(name="promo", first=1, levels=("a",), default="no")


class Echo:
    """Scores each item by how often it is in the history; keeps what it was asked."""

    history_len = 8
    manifest = SimpleNamespace(item_context=(OLD_PROMO,))

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        self.asked = queries
        return np.stack([(queries.item_idx == n).sum(1) for n in range(OLD.size)], 1).astype(float)


def asked_and_told(old: IdMap) -> tuple[Queries, Queries, npt.NDArray[np.floating]]:
    catalog, echo = sample_catalog(), Echo()
    words = Vocabulary(users=catalog.users, items=old, places=old, titles=[])
    model = RemappedRecommender(cast("OnnxRecommender", echo), words, catalog)
    queries = queries_at(sample_log(), np.array([50, 99]), history_len=8, time_given=True)
    told = model.scores(queries)
    return queries, echo.asked, told


def test_it_is_asked_in_its_own_words_and_answers_in_ours() -> None:
    queries, asked, told = asked_and_told(OLD)
    ours_to_old = np.zeros(16, int)
    ours_to_old[[1, 3, 4]] = [1, 2, 3]  # indices of i00, i02 and i03 in either catalogue
    assert (asked.item_idx == ours_to_old[queries.item_idx]).all()
    assert (asked.place_idx == asked.item_idx).all()
    assert (asked.user_idx == queries.user_idx).all()
    for ours in (1, 3, 4):
        assert (told[:, ours] == (queries.item_idx == ours).sum(1)).all()


def test_what_it_has_never_heard_of_it_cannot_rank() -> None:
    _, _, told = asked_and_told(OLD)
    assert told.shape == (2, 16)
    unknown = [0, 2, *range(5, 16)]
    assert np.isneginf(told[:, unknown]).all()
    assert np.isfinite(np.delete(told, unknown, axis=1)).all()


def test_the_same_catalogue_changes_nothing() -> None:
    echo, catalog = Echo(), replace(sample_catalog(), items=OLD, places=OLD)
    words = Vocabulary(users=catalog.users, items=OLD, places=OLD, titles=[])
    queries = queries_at(sample_log(), np.array([50]), history_len=8, time_given=True)
    known = replace(queries, item_idx=queries.item_idx % 4, place_idx=queries.place_idx % 4)
    told = RemappedRecommender(cast("OnnxRecommender", echo), words, catalog).scores(known)
    assert (told[:, 1:] == echo.scores(known)[:, 1:]).all()


def test_item_context_is_asked_in_the_items_and_levels_of_the_model() -> None:
    catalog, echo = replace(sample_catalog(), item_context=(PROMO,)), Echo()
    words = Vocabulary(users=catalog.users, items=OLD, places=OLD, titles=[])
    model = RemappedRecommender(cast("OnnxRecommender", echo), words, catalog)
    queries = queries_at(sample_log(), np.array([50]), history_len=8, time_given=True)
    items = np.array([[1, 2, 3, 4]], np.int32)  # i00, i01, which it does not know, i02, i03
    levels = np.array([[[2], [2], [1], [2]]], np.int32)  # a, a, b, which it does not know, a
    model.scores(replace(queries, context_item_idx=items, context_levels=levels))
    assert echo.asked.context_item_idx is not None
    assert echo.asked.context_item_idx.tolist() == [[1, 0, 2, 3]]
    assert echo.asked.context_levels is not None
    assert echo.asked.context_levels[..., 0].tolist() == [[1, 1, 0, 1]]
