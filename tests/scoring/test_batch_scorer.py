"""Near ties are decided as the service decides them, and batches stay within the memory."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from chronotope.artifact.bundle import Manifest
from chronotope.artifact.onnx_recommender import ModelOutput, OnnxRecommender
from chronotope.contracts.errors import StoreError
from chronotope.contracts.queries import Queries
from chronotope.contracts.user_attributes import AttributeColumn, context_columns
from chronotope.inference.new_users import UserLevels
from chronotope.inference.request import RecommendOptions
from chronotope.metrics.exposure import tail_items
from chronotope.registry.champion import Champion
from chronotope.scoring.batch_scorer import TIE_GAP, BatchScorer
from chronotope.scoring.source import open_source
from tests.inference.hand_made import LAST_S, WHEN
from tests.inference.promotions import PROMO, add_promotion
from tests.scoring.crowd import build_town, config

AT = datetime.fromtimestamp(LAST_S + 3600, UTC)


@dataclass
class RoundingModel:
    """Scores fall with the index, a millionth apart; in a batch, two neighbours change places."""

    manifest: Manifest
    n_items: int
    history_lengths: tuple[int, ...] = (8,)
    n_single: int = 0
    queries: list[Queries] = field(default_factory=list)

    def answer(self, queries: Queries) -> ModelOutput:
        self.queries.append(queries)
        scores = -1e-6 * np.arange(self.n_items)
        scores[5:] -= 1.0  # the first five are close to each other, the others far
        scores[6:] -= np.arange(self.n_items - 6)
        if len(queries) > 1:
            scores[[2, 3]] = scores[[3, 2]]
        else:
            self.n_single += 1
        rows = np.tile(scores.astype(np.float32), (len(queries), 1))
        return ModelOutput(rows, np.repeat(WHEN[None], len(queries), 0), rows)


@pytest.mark.parametrize(("k", "n_single"), [(4, 8), (5, 8), (1, 8)])
def test_neighbours_that_a_batch_cannot_tell_apart_are_ranked_alone(
    tmp_path: Path, k: int, n_single: int
) -> None:
    town = build_town(tmp_path)
    with open_source("city", config(tmp_path), town.load) as source:
        champion = source.champion
        model = RoundingModel(champion.model.manifest, champion.vocabulary.items.size)
        loaded = replace(source.loaded_champion, champion=replace(champion, model=model))
        scorer = BatchScorer(loaded, source.read_state, RecommendOptions(k=k), AT, 64)
        users = [f"v{n:02d}" for n in range(8)]
        predictions = scorer.predict(users)
    assert [one.items.tolist() for one in predictions] == [list(range(1, k + 1))] * 8
    assert model.n_single == n_single
    assert TIE_GAP > 1e-6


def test_stored_attributes_of_the_users_reach_the_model(tmp_path: Path) -> None:
    town = build_town(tmp_path)
    with open_source("city", config(tmp_path), town.load) as source:
        champion = source.champion
        model = RoundingModel(champion.model.manifest, champion.vocabulary.items.size)
        column = AttributeColumn(name="sex", first=1, levels=("f", "m"))
        levels = UserLevels((column,), {"v01": 1, "v02": 2}, np.array([[0], [1], [2]], np.int32))
        loaded = replace(
            source.loaded_champion, champion=replace(champion, model=model), user_levels=levels
        )
        scorer = BatchScorer(loaded, source.read_state, RecommendOptions(k=1), AT, 1)
        scorer.predict(["v00", "v01", "v02"])
    (name,) = context_columns((column,))
    given = {
        query.context[name].tolist()[0] if name in query.context else None
        for query in model.queries
    }
    assert given == {None, 1.0, 2.0}


def test_large_catalogues_have_small_batches(tmp_path: Path) -> None:
    town = build_town(tmp_path)
    with open_source("city", config(tmp_path), town.load) as source:

        def batch_size(n_items: int) -> int:
            vocabulary = replace(source.champion.vocabulary)
            object.__setattr__(vocabulary, "items", _Sized(n_items))
            champion = replace(source.champion, vocabulary=vocabulary)
            loaded = replace(source.loaded_champion, champion=champion)
            options = RecommendOptions(k=1)
            return BatchScorer.within_memory(loaded, source.read_state, options, AT, 64).batch_size

        assert (batch_size(1000), batch_size(1_000_000), batch_size(10**9)) == (64, 8, 1)


@dataclass(frozen=True)
class _Sized:
    size: int


def test_the_tail_is_exposed_as_by_the_service(tmp_path: Path) -> None:
    town = build_town(tmp_path)
    with open_source("city", config(tmp_path), town.load) as source:
        loaded, options = source.loaded_champion, RecommendOptions(k=15)
        users = [f"v{n:02d}" for n in range(8)]
        plain, exposed = (
            BatchScorer(loaded, source.read_state, options, AT, 4, tail_exposure=strength).predict(
                users
            )
            for strength in (0.0, 10.0)
        )
        is_tail = tail_items(loaded.recent_activity(AT).counts)
    changed = 0
    for before, after in zip(plain, exposed, strict=True):
        assert sorted(after.items) == sorted(before.items)
        of_tail = before.items[is_tail[before.items]]
        assert after.items[is_tail[after.items]].tolist() == of_tail.tolist()  # among themselves
        changed += after.items.tolist() != before.items.tolist()
    assert changed


def test_item_context_of_the_lake_reaches_the_model_of_a_batch(tmp_path: Path) -> None:
    town = build_town(tmp_path)
    add_promotion(tmp_path, "city", "i03", AT - timedelta(hours=1), AT + timedelta(hours=1))

    def load(root: Path, dataset: str) -> Champion:
        champion = town.load(root, dataset)
        manifest = champion.model.manifest.model_copy(update={"item_context": (PROMO,)})
        return replace(champion, model=OnnxRecommender(champion.model.session, manifest))

    with open_source("city", config(tmp_path), load) as source:
        champion = source.champion
        model = RoundingModel(champion.model.manifest, champion.vocabulary.items.size)
        loaded = replace(source.loaded_champion, champion=replace(champion, model=model))
        for moment in (AT, AT + timedelta(hours=1)):
            scorer = BatchScorer(loaded, source.read_state, RecommendOptions(k=1), moment, 64)
            scorer.predict(["v00", "v01", "v02"])
        reader = loaded.item_context
    during, after = model.queries[0], model.queries[-1]
    assert during.context_item_idx is not None
    assert after.context_item_idx is not None
    assert during.context_item_idx.tolist() == [[4]] * len(during)
    assert after.context_item_idx.tolist() == [[0]] * len(after)
    assert reader is not None
    with pytest.raises(StoreError):  # its log was closed with the source
        reader.position()
