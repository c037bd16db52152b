"""What docs/ray.md shows can be told, and the names in it exist."""

import re
from pathlib import Path

import pytest
import yaml

from chronotope.metrics.evaluator import BATCH_SIZE
from chronotope.pipelines.evaluate_blocks import N_BLOCK
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime import store_urls
from chronotope.runtime.engine import EngineConfig

PAGE = (Path(__file__).parents[2] / "docs" / "ray.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_settings_are_as_shown(block: str) -> None:
    settings = TrainSettings.model_validate(yaml.safe_load(block))
    assert settings.engine.kind == "ray"
    assert (settings.study.batch, settings.training.n_processes) in {(6, 1), (1, 4)}


def test_every_setting_of_the_engine_is_told() -> None:
    told = set(re.findall(r"`engine\.(\w+)`", PAGE))
    assert told == set(EngineConfig.model_fields)


def test_variables_and_sizes_are_those_of_the_code() -> None:
    told = set(re.findall(r"CHRONOTOPE_\w+", PAGE))
    databases = {store_urls.MLFLOW_URL, store_urls.OPTUNA_URL, store_urls.STATE_URL}
    assert told == {*databases, store_urls.ARTIFACTS_URL}
    assert f"| {N_BLOCK:,} targets |" in PAGE
    assert N_BLOCK % BATCH_SIZE == 0
