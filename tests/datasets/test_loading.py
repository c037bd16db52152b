"""Dataset files are checked before anything is read."""

from pathlib import Path

import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.datasets.loading import dataset_names, load_spec

CONF = Path(__file__).parents[2] / "conf" / "datasets"

GOOD = """
name: shop
description: A shop
licence: ours
events:
  format: csv
  path: log.csv
  columns: {user_id: u, item_id: i, occurred_at: t}
"""


def write(folder: Path, text: str) -> Path:
    (folder / "shop.yaml").write_text(text)
    return folder / "shop.yaml"


def test_every_shipped_dataset_loads_under_its_own_name() -> None:
    names = dataset_names(CONF)
    assert {"complete_journey", "foursquare_nyc", "movielens_100k", "example_csv"} <= set(names)
    assert [load_spec(name, conf_dir=CONF).name for name in names] == list(names)


def test_data_dir_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert load_spec(path, data_dir=tmp_path).data_dir == tmp_path
    assert load_spec("shop", conf_dir=tmp_path).data_dir == Path()


def test_unknown_name_lists_the_known(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(ConfigError, match=r"Received: shp.*: shop"):
        load_spec("shp", conf_dir=tmp_path)


def test_the_file_of_a_log_is_no_dataset(tmp_path: Path) -> None:
    log = tmp_path / "visits.csv"
    log.write_text("user,item,time\n")
    with pytest.raises(ConfigError, match=r"chronotope init NAME .*visits\.csv"):
        load_spec(log)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("name: shop", "name: My Shop").replace("format: csv", "format: xls")
    with pytest.raises(ConfigError) as caught:
        load_spec(write(tmp_path, text + "colour: red\n"))
    assert all(word in str(caught.value) for word in ("name", "events.format", "colour"))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("user_id: u, ", "", "'user_id' must be mapped"),
        ("user_id: u", "user_id: u, colour: c", "'colour' is not a contract column"),
        ("licence: ours", "licence: ours\nidentity: [nose]", "'nose' is not a column"),
        ("licence: ours", "licence: ours\nlocal_zone: Mars/Olympus", "Mars/Olympus"),
        ("licence: ours", "licence: ours\ntime: {kind: strptime}", "time.pattern"),
        ("licence: ours", "licence: ours\ncity: {}", "exactly one of events and city"),
        ("format: csv", "format: sql", "requires url and query"),
        ("path: log.csv", "delimiter: ','", "requires path"),
    ],
)
def test_mistake_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_spec(write(tmp_path, GOOD.replace(old, new)))


@pytest.mark.parametrize("text", ["{", "- a list", "\x00"])
def test_no_mapping_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load_spec(write(tmp_path, text))


def test_offset_comes_from_one_place(tmp_path: Path) -> None:
    text = GOOD.replace("user_id: u", "user_id: u, utc_offset_min: o") + "local_zone: UTC\n"
    with pytest.raises(ConfigError, match="utc_offset_min and local_zone exclude"):
        load_spec(write(tmp_path, text))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("user_id: u", "user_id: off", 'reads off, no and false .* such as "off"'),
        ("user_id: u", "user_id: yes", 'reads on, yes and true .* such as "on"'),
        ("user_id: u", "user_id: 0", 'reads 0 as a number: write .* such as "0"'),
        ("user_id: u", "user_id: 2024-01-02", "reads 2024-01-02 as a date"),
        ("user_id: u", "user_id: ", "nothing is written after the colon"),
        ("user_id: u", "user_id: [u]", "a text is required, not a list"),
        ("path: log.csv", "path: log.csv\n  seperator: x", "did you mean `delimiter`"),
        ("path: log.csv", "path: log.csv\n  delimeter: x", "did you mean `delimiter`"),
        ("path: log.csv", "file: log.csv", "did you mean `path`"),
        ("path: log.csv", "path: log.csv\n  timezone: UTC", "belongs under time"),
        ("licence: ours", "license: ours", "did you mean `licence`"),
        ("licence: ours", "licence: ours\ndelimiter: x", "belongs under events"),
        ("licence: ours", "licence: ours\nzzz: x", "no such key; the keys are name, description"),
        ("path: log.csv", "path: log.csv\n  keep: {q: {'>': 1}}", "did you mean `gt`"),
        ("name: shop", "name: My-Shop 2", "received 'My-Shop 2', write my_shop_2"),
        ("name: shop", "name: 2024", "reads 2024 as a number"),
        ("format: csv", "format: cvs", "received 'cvs'; did you mean `csv`"),
        ("format: csv", "", "events.format: this key is required"),
    ],
)
def test_slips_are_explained(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_spec(write(tmp_path, GOOD.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "an empty file"),
        ("name:shop", "blank after each colon"),
        ("- name: a", "without a dash"),
    ],
)
def test_no_mapping_is_explained(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_spec(write(tmp_path, text))


def test_a_name_that_is_nearly_a_dataset_is_suggested(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(ConfigError, match="Did you mean shop"):
        load_spec("Shop", conf_dir=tmp_path)
