import math

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from chronotope.content.content_axes import project_items
from chronotope.contracts.errors import (
    ConfigError,
    NotEnoughData,
    SchemaError,
    SourceError,
    StoreError,
)
from chronotope.contracts.schemas import EVENTS
from chronotope.features import build
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from tests.damage import flipped, flips

ROWS = [
    # id, user, item, seconds, offset, place, lat, lon, session, quantity
    ("e1", "zoe", "tea", 100, 60, "shop", 48.0, 16.0, "s1", 2.0),
    ("e3", "zoe", "jam", 200, None, "shop", 49.0, 17.0, "s1", None),
    ("e2", "zoe", "tea", 200, 60, None, None, None, None, 1.0),
    ("e4", "adam", "tea", 50, -300, "kiosk", 10.0, math.nan, "s1", 3.0),
]


@pytest.fixture
def events():
    names = ("event_id", "user_id", "item_id", "t", "utc_offset_min", "place_id", "lat", "lon")
    columns = dict(zip((*names, "session_id", "quantity"), zip(*ROWS, strict=True), strict=True))
    seconds = columns.pop("t")
    columns |= {"event_type": ["buy"] * 3 + ["view"], "value": [1.5, None, 2.5, 3.5]}
    columns["occurred_at"] = [s * 1_000_000 + 7 for s in seconds]
    fields = [*EVENTS, pa.field("quantity", pa.float64())]
    return pa.table({f.name: pa.array(columns[f.name]).cast(f.type) for f in fields})


@pytest.fixture
def items():
    return pa.table(
        {
            "item_id": ["jam", "tea", "never sold"],
            "category": ["sweet", None, "toys"],
            "title": ["Jam", None, "Ball"],
            "lat": [1.0, None, 5.0],
            "lon": [2.0, 3.0, 5.0],
        }
    )


def built(events, items, tmp_path, **settings):
    ref = build_features(events, items, config=FeaturesConfig(**settings), out=tmp_path)
    return load_features(ref.path)


def test_log_by_hand(events, items, tmp_path):
    log, catalog = built(events, items, tmp_path, context=("quantity",))
    assert [catalog.users.name(i) for i in log.user_idx] == ["adam", "zoe", "zoe", "zoe"]
    assert [catalog.items.name(i) for i in log.item_idx] == ["tea", "tea", "tea", "jam"]
    assert log.occurred_s.tolist() == [50, 100, 200, 200]
    assert log.utc_offset_min.tolist() == [-300, 60, 60, 0]
    assert [catalog.places.name(i) for i in log.place_idx] == ["kiosk", "shop", None, "shop"]
    assert log.session_idx.tolist() == [1, 2, 0, 2]
    np.testing.assert_array_equal(log.value, np.float32([3.5, 1.5, 2.5, np.nan]))
    np.testing.assert_array_equal(log.context["quantity"], np.float32([3, 2, 1, np.nan]))


def test_catalog_by_hand(events, items, tmp_path):
    _, catalog = built(events, items, tmp_path)
    assert catalog.items.ids.to_pylist() == ["jam", "tea"]
    assert catalog.categories.ids.to_pylist() == ["sweet"]
    assert catalog.item_category.tolist() == [0, 1, 0]
    assert catalog.item_title.tolist() == ["", "Jam", ""]
    np.testing.assert_array_equal(catalog.item_lat, [np.nan, 1.0, 48.0])
    np.testing.assert_array_equal(catalog.item_lon, [np.nan, 2.0, 16.0])
    np.testing.assert_array_equal(catalog.place_lat, [np.nan, np.nan, 48.5])
    np.testing.assert_array_equal(catalog.place_lon, [np.nan, np.nan, 16.5])


def test_a_predicted_category_stands_for_a_missing_one_only(events, items, tmp_path):
    predicted = items.append_column("predicted_category", pa.array(["wrong", "drink", None]))
    _, catalog = built(events, predicted, tmp_path)
    assert [catalog.categories.name(i) for i in catalog.item_category] == [None, "sweet", "drink"]
    events = events.append_column("category", pa.array(["hot", "hot", "hot", "hot"]))
    _, catalog = built(events, predicted, tmp_path / "given")
    assert [catalog.categories.name(i) for i in catalog.item_category] == [None, "sweet", "hot"]


def test_check_ins_have_items_for_places(events, items, tmp_path):
    log, catalog = built(events, items, tmp_path, items_are_places=True)
    assert catalog.items_are_places
    assert log.place_idx.tolist() == log.item_idx.tolist()
    assert catalog.places.ids.equals(catalog.items.ids)
    np.testing.assert_array_equal(catalog.place_lat, catalog.item_lat)


def test_only_the_required_columns_are_enough(events, tmp_path):
    required = events.select([f.name for f in EVENTS if not f.nullable])
    log, catalog = built(required, None, tmp_path)
    assert (len(log), catalog.n_items, catalog.n_places) == (4, 3, 1)
    assert not log.place_idx.any()
    assert np.isnan(log.value).all()


def test_categories_of_the_events_serve_where_the_items_table_is_silent(events, items, tmp_path):
    events = events.append_column("category", pa.array(["drink", "salty", "drink", "hot"]))
    _, catalog = built(events, items, tmp_path)
    assert [catalog.categories.name(i) for i in catalog.item_category] == [None, "sweet", "drink"]


def test_event_types_are_filtered_and_none_left_is_an_error(events, items, tmp_path):
    log, _ = built(events, items, tmp_path, event_types=("view",))
    assert len(log) == 1
    with pytest.raises(NotEnoughData, match="event types"):
        built(events, items, tmp_path, event_types=("refund",))


def test_row_order_and_container_do_not_matter(events, items, tmp_path):
    pq.write_table(events.take([3, 1, 0, 2]), tmp_path / "events.parquet")
    sources = [
        events,
        pads.dataset(tmp_path / "events.parquet"),
        [str(tmp_path / "events.parquet")],
        events.to_reader(max_chunksize=1),
    ]
    refs = [build_features(s, items, config=FeaturesConfig(), out=tmp_path / "f") for s in sources]
    assert len({ref.digest for ref in refs}) == 1
    assert refs[0].n_events == 4
    assert [p.name for p in (tmp_path / "f").iterdir()] == [refs[0].digest]


def many(n):
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "event_id": [f"{i:032x}" for i in rng.permutation(n)],
            "user_id": [f"u{i}" for i in rng.integers(0, n // 50, n)],
            "item_id": [f"i{i}" for i in rng.integers(0, 500, n)],
            "event_type": ["view"] * n,
            "occurred_at": pa.array(rng.integers(0, 10**9, n) * 10**6).cast(EVENTS.field(4).type),
        }
    )


def test_what_does_not_fit_in_memory_is_spilled_and_the_snapshot_is_the_same(tmp_path, monkeypatch):
    events = many(150_000)
    refs = [build_features(events, None, config=FeaturesConfig(), out=tmp_path / "roomy")]
    monkeypatch.setattr(build, "DUCKDB_MEMORY", "40MiB")
    refs += [build_features(events, None, config=FeaturesConfig(), out=tmp_path / "narrow")]
    assert refs[0].digest == refs[1].digest
    assert [p.name for p in (tmp_path / "narrow").iterdir()] == [refs[1].digest]
    monkeypatch.setattr(build, "DUCKDB_MEMORY", "1MiB")
    with pytest.raises(StoreError, match=r"(?s)in 1MiB of memory.*Free disk"):
        build_features(events, None, config=FeaturesConfig(), out=tmp_path / "none")
    assert list((tmp_path / "none").iterdir()) == []


def test_digest_follows_the_data_and_the_configuration(events, items, tmp_path):
    def digest(rows, **settings):
        config = FeaturesConfig(**settings)
        return build_features(rows, items, config=config, out=tmp_path).digest

    digests = [digest(events), digest(events.slice(1)), digest(events, items_are_places=True)]
    assert len(set(digests)) == 3


def test_a_known_version_is_not_built_again(events, items, tmp_path):
    config = FeaturesConfig()
    first = build_features(events, items, config=config, out=tmp_path, data_version="3")
    again = build_features(events.slice(4), items, config=config, out=tmp_path, data_version="3")
    assert again == first
    with pytest.raises(NotEnoughData):
        build_features(events.slice(4), items, config=config, out=tmp_path, data_version="4")
    assert [p.name for p in tmp_path.iterdir()] == [first.digest]


def test_missing_columns_are_named(events, items, tmp_path):
    with pytest.raises(SchemaError, match="user_id"):
        built(events.drop_columns("user_id"), items, tmp_path)
    with pytest.raises(ConfigError, match=r"weather.*missing"):
        built(events, items, tmp_path, context=("weather",))
    with pytest.raises(ConfigError, match=r"event_type.*VARCHAR"):
        built(events, items, tmp_path, context=("event_type",))


def test_an_incomplete_snapshot_is_refused(events, items, tmp_path):
    ref = build_features(events, items, config=FeaturesConfig(), out=tmp_path)
    (ref.path / "items.parquet").unlink()
    with pytest.raises(SourceError, match="build_features"):
        load_features(ref.path)


def test_a_context_of_whole_numbers_or_flags_becomes_numbers(events, items, tmp_path):
    events = events.append_column("promo", pa.array([True, False, None, True]))
    log, _ = built(events, items, tmp_path, context=("promo",))
    np.testing.assert_array_equal(log.context["promo"], np.float32([1, 1, np.nan, 0]))


def test_many_versions_of_an_item_count_once(events, items, tmp_path):
    doubled = pa.concat_tables([items, items])
    log, catalog = built(events, doubled, tmp_path)
    assert (len(log), catalog.n_items) == (4, 3)


def same_catalog(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
        for name in ("item_category", "item_lat", "item_lon", "place_lat", "place_lon")
    ) and one.items.ids.equals(other.items.ids)


def test_no_changed_byte_of_a_snapshot_loads_as_other_data(events, items, tmp_path):
    """The tables notice every change; the meta file may still say the same."""
    events = events.append_column("category", pa.array(["drink", "salty", "drink", "hot"]))
    ref = build_features(events, items, config=FeaturesConfig(context=("quantity",)), out=tmp_path)
    log, catalog = load_features(ref.path)
    for path in sorted(ref.path.iterdir()):
        for _ in flips(path, 40):
            try:
                found, known = load_features(ref.path)
            except SourceError as error:
                assert str(ref.path) in str(error)  # noqa: PT017 - either is right
                assert "Run the ingestion again" in str(error)  # noqa: PT017
                continue
            assert path.name == "features.json"
            np.testing.assert_array_equal(found.context["quantity"], log.context["quantity"])
            assert same_catalog(known, catalog)
    np.testing.assert_array_equal(load_features(ref.path)[0].item_idx, log.item_idx)


@pytest.mark.parametrize("name", ["events.parquet", "items.parquet", "features.json"])
def test_a_damaged_snapshot_of_a_known_version_is_built_again(
    events, items, tmp_path, caplog, name
):
    def build():
        return build_features(
            events, items, config=FeaturesConfig(), out=tmp_path, data_version="3"
        )

    ref = build()
    whole = {path.name: path.read_bytes() for path in ref.path.iterdir()}
    with flipped(ref.path / name, 30):
        assert build() == ref
        assert {path.name: path.read_bytes() for path in ref.path.iterdir()} == whole
    assert "is rebuilt" in caplog.text


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}"])
def test_a_snapshot_whose_meta_file_is_no_such_file_is_refused(events, items, tmp_path, content):
    ref = build_features(events, items, config=FeaturesConfig(), out=tmp_path)
    (ref.path / "features.json").write_bytes(content)
    with pytest.raises(SourceError, match=r"snapshot.*features"):
        load_features(ref.path)


def item_content(items, **vectors):
    rows = {name: np.array(of, np.float32) for name, of in vectors.items()}
    return project_items(rows, dict.fromkeys(rows, "encoder@1"))


def test_items_with_content_are_kept_without_events(events, items, tmp_path):
    content = item_content(items, text=[[1, 0], [0, 0], [0, 2]], image=[[1], [2], [4]])
    ref = build_features(events, items, config=FeaturesConfig(), out=tmp_path, content=content)
    log, catalog = load_features(ref.path)
    assert catalog.items.ids.to_pylist() == ["jam", "never sold", "tea"]
    assert catalog.categories.ids[catalog.item_category[2] - 1].as_py() == "toys"
    assert catalog.item_lat[2] == 5.0
    assert set(log.item_idx.tolist()) == {1, 3}
    assert catalog.content.axes.encoders == {"image": "encoder@1", "text": "encoder@1"}
    np.testing.assert_array_equal(catalog.content.vectors[[1, 3, 2]], content.vectors)
    assert not catalog.content.vectors[0].any()


def test_content_is_part_of_the_digest_and_is_verified(events, items, tmp_path):
    plain = build_features(events, items, config=FeaturesConfig(), out=tmp_path)
    assert load_features(plain.path)[1].content is None
    content = item_content(items, text=[[1, 0], [0, 1], [0, 2]])
    with_content = build_features(
        events, items, config=FeaturesConfig(), out=tmp_path, content=content
    )
    assert with_content.digest != plain.digest
    vectors_path = with_content.path / build.CONTENT_VECTORS
    vectors_path.write_bytes(vectors_path.read_bytes()[:-4] + b"1234")
    with pytest.raises(SourceError, match=r"content\.npy"):
        load_features(with_content.path)
    vectors_path.unlink()
    with pytest.raises(SourceError, match="incomplete"):
        load_features(with_content.path)
