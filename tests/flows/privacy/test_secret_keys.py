"""Keys of pseudonyms come from a Secret block where the environment has none."""

import os
from types import SimpleNamespace

import pytest
from prefect.blocks.system import Secret

from chronotope.privacy import PseudonymSettings
from flows.privacy.secret_keys import provide_keys

BLOCK = PseudonymSettings(variable="SHOP_SECRET", block="shop-key")
KEY = "k" * 32


def test_a_block_is_read_once_the_variable_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str) -> SimpleNamespace:
        asked.append(name)
        return SimpleNamespace(get=lambda: KEY)

    monkeypatch.setattr(Secret, "load", load)
    monkeypatch.setenv("SHOP_SECRET", "")
    provide_keys(BLOCK)
    provide_keys(BLOCK)
    assert os.environ["SHOP_SECRET"] == KEY
    assert asked == ["shop-key"]


@pytest.mark.parametrize("pseudonyms", [None, PseudonymSettings()], ids=["none", "no block"])
def test_without_a_block_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, pseudonyms: PseudonymSettings | None
) -> None:
    monkeypatch.setattr(Secret, "load", lambda _: pytest.fail("no block is named"))
    provide_keys(pseudonyms)
