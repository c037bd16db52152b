"""A network over a grown catalogue says of what it knew what it said before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chronotope.contracts.errors import ChronotopeError
from chronotope.contracts.event_log import Catalog, EventLog, Int32
from chronotope.contracts.ids import IdMap
from chronotope.contracts.queries import Queries, queries_at
from chronotope.models.config import BackboneKind, ModelConfig
from chronotope.testing.recommender_suite import close, sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

ASKED = np.arange(20, 60)


def trained(
    backbone: BackboneKind = "none", context: tuple[str, ...] = ()
) -> ChronotopeRecommender:
    model = ModelConfig(
        history_len=16,
        category_head=True,
        backbone=backbone,
        backbone_len=4,
        d_model=8,
        context=context,
    )
    config = TrainingConfig(max_epochs=1, n_rounds=2, batch_size=64)
    return ChronotopeRecommender(model, config).fit(sample_log(), sample_catalog())


def grown() -> Catalog:
    """A new item and a new category before all others, so that every index is another."""
    then = sample_catalog()
    return replace(
        then,
        items=(items := IdMap.of(["a00", *then.items.ids.to_pylist()])),
        places=items,
        categories=IdMap.of(["0", *then.categories.ids.to_pylist()]),
        item_category=np.r_[0, 1, then.item_category[1:] + 1].astype(np.int32),
        **{
            name: np.r_[np.nan, np.nan, getattr(then, name)[1:]]
            for name in ("item_lat", "item_lon", "place_lat", "place_lon")
        },
    )


def moved() -> Int32:
    """Index now of each index then."""
    return np.r_[0, grown().items.index(sample_catalog().items.ids)].astype(np.int32)


def translated(of: EventLog | Queries) -> EventLog | Queries:
    return replace(of, item_idx=moved()[of.item_idx], place_idx=moved()[of.place_idx])


@pytest.mark.parametrize("backbone", ["none", "gru", "transformer", "two_tower", "lightgcn"])
def test_what_was_known_is_scored_as_before(backbone: BackboneKind) -> None:
    model, log = trained(backbone), sample_log()
    asked = queries_at(log, ASKED, history_len=16, time_given=True)
    before = model.scores(asked)
    model.transfer_to(translated(log), grown())  # type: ignore[arg-type]
    after = model.scores(translated(asked))  # type: ignore[arg-type]
    close(after[:, moved()[1:]], before[:, 1:])
    assert np.isfinite(after[:, 1]).all()


def test_it_learns_on_and_is_kept_with_columns_of_context(tmp_path: Path) -> None:
    model, later = trained("gru", ("rain",)), sample_log(seed=1)
    model.transfer_to(translated(sample_log()), grown())  # type: ignore[arg-type]
    moved_on = replace(later, occurred_s=later.occurred_s + 40 * 86_400)
    model.update(translated(moved_on))  # type: ignore[arg-type]
    model.save(tmp_path / "model.pt")
    again = ChronotopeRecommender.load(tmp_path / "model.pt", grown())
    asked = translated(queries_at(later, ASKED, history_len=16, time_given=True))
    np.testing.assert_array_equal(again.scores(asked), model.scores(asked))  # type: ignore[arg-type]


def test_what_is_gone_is_forgotten_and_the_same_catalogue_changes_nothing() -> None:
    model, log = trained("gru"), sample_log()
    asked = queries_at(log, ASKED, history_len=16, time_given=False)
    before = model.scores(asked)
    model.transfer_to(log, sample_catalog())
    np.testing.assert_array_equal(model.scores(asked), before)
    then, shorter = sample_catalog(), IdMap(sample_catalog().items.ids[:-1])
    fewer = replace(
        then,
        items=shorter,
        places=shorter,
        item_category=then.item_category[:-1],
        **{n: getattr(then, n)[:-1] for n in ("item_lat", "item_lon", "place_lat", "place_lon")},
    )
    model.transfer_to(log.take(log.item_idx < then.n_items - 1), fewer)
    assert model.scores(asked.take(np.flatnonzero((asked.item_idx < 15).all(1)))).shape[1] == 15


def test_it_has_to_be_trained() -> None:
    with pytest.raises(ChronotopeError, match="not trained"):
        ChronotopeRecommender().transfer_to(sample_log(), sample_catalog())
