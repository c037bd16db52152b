"""Recommenders of installed packages: found by entry point, checked when they are built."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.models.baselines import baselines
from chronotope.pipelines.run_dir import training_run_dir
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.plugins.installed_recommenders import (
    installed_recommenders,
    installed_versions,
    recommender_errors,
)
from tests.plugin_package import TRENDING, install_package

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a module as the package that provides a recommender."""
    return lambda source: install_package(tmp_path / "site", source, monkeypatch)


def test_without_packages_there_are_the_baselines_alone() -> None:
    assert installed_versions() == ()
    assert installed_recommenders() == []
    assert baselines()[-1].name == "up_cf"


def test_an_installed_model_stands_behind_the_baselines(install: Install) -> None:
    install(TRENDING)
    assert installed_versions() == ("trending = trending_model:Trending (trending-model 1.2)",)
    assert [model.name for model in baselines(has_baskets=False)][-2:] == ["ease", "trending"]
    first, second = installed_recommenders()[0], installed_recommenders()[0]
    assert first is not second


def test_another_set_of_models_is_another_training(install: Install, tmp_path: Path) -> None:
    settings = TrainSettings(root=tmp_path)
    before = training_run_dir(Path("features"), "town", settings)
    install(TRENDING)
    assert training_run_dir(Path("features"), "town", settings) != before


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("class Trending", "class Other"), "AttributeError"),
        (("history_len = 1", "memory = 1"), "lacks name, history_len"),
        (('"trending"', '"popularity"'), "name of a baseline"),
        (('"trending"', '"champion"'), "none of challenger"),
        (('"trending"', '"slice.all"'), "1 to 40 letters"),
        (("import numpy", "import nothing_like_this"), "ModuleNotFoundError.*nothing"),
    ],
    ids=["missing", "incomplete", "baseline", "reserved", "characters", "import"],
)
def test_a_model_that_cannot_take_part_names_its_package(
    install: Install, change: tuple[str, str], text: str
) -> None:
    install(TRENDING.replace(*change))
    with pytest.raises(ConfigError, match=text) as caught:
        baselines()
    assert "trending-model 1.2" in str(caught.value) or "popularity" in str(caught.value)


def test_errors_of_an_installed_model_name_it_and_others_stay(install: Install) -> None:
    install(TRENDING)
    with (
        pytest.raises(ConfigError, match=r"'trending' failed.*ZeroDivisionError.*uninstall"),
        recommender_errors(installed_recommenders()[0]),
    ):
        1 / 0  # noqa: B018 - raises
    with pytest.raises(ZeroDivisionError), recommender_errors(baselines()[0]):
        1 / 0  # noqa: B018 - raises
