"""``chronotope train``: what it prints can be pasted into a shell."""

import shlex
from pathlib import Path

import pytest

from chronotope.cli.train import mlflow_command


@pytest.mark.parametrize("name", ["plain", "two words", "it's", "a$b;c"])
def test_the_command_of_the_mlflow_ui_is_one_word_a_path(tmp_path: Path, name: str) -> None:
    *words, store_url = shlex.split(mlflow_command(tmp_path / name))
    assert words == ["mlflow", "ui", "--backend-store-uri"]
    assert store_url.startswith("sqlite:")
    assert "mlflow.db" in store_url
