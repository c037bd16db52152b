"""Tensors read back as they were; a changed byte is refused or changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch

from chronotope.models.transfer.network_file import load_tensors, save_tensors
from tests.damage import flips


def content() -> dict[str, Any]:
    torch.manual_seed(0)
    net = {"w": torch.randn(20, 30), "b": torch.arange(7), "s": torch.tensor(2.5)}
    return {"config": '{"a": 1}', "net": net, "seen_until_s": 1_600_000_000}


def is_same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return found.keys() == wanted.keys() and all(
        is_same(found[name], value)
        if isinstance(value, dict)
        else torch.equal(found[name], value)
        if isinstance(value, torch.Tensor)
        else found[name] == value
        for name, value in wanted.items()
    )


def test_they_read_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "new" / "net.pt"
    save_tensors(path, content())
    assert is_same(load_tensors(path), content())
    assert [each.name for each in path.parent.iterdir()] == ["net.pt"]


def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    save_tensors(path, content())
    refused = 0
    for place in flips(path, 200):
        try:
            found = load_tensors(path)
        except Exception:  # what a damaged archive does to its reader cannot be foretold
            refused += 1
        else:
            assert is_same({name: found[name] for name in content()}, content()), place
    assert refused > 50


def test_a_file_of_an_earlier_release_has_no_digest(tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "net.pt")
    assert is_same(load_tensors(tmp_path / "net.pt"), content())


def test_another_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    save_tensors(path, content())
    stored = torch.load(path, weights_only=True)
    stored["net"]["w"][0, 0] += 1
    torch.save(stored, path)
    with pytest.raises(ValueError, match="differs from its digest"):
        load_tensors(path)
