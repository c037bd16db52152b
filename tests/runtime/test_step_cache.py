"""A finished step is not done again; a step that died is."""

from pathlib import Path
from typing import Any

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.pipelines.run_dir import read_settings, training_run_dir, write_settings
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.step_cache import run_step, step_costs, step_result
from tests.damage import flips


def test_a_finished_step_is_read_back(tmp_path: Path) -> None:
    assert run_step(tmp_path, "step", dict[str, int], lambda: {"n": 1}) == {"n": 1}
    assert run_step(tmp_path, "step", dict[str, int], lambda: {"n": 2}) == {"n": 1}
    cost = step_costs(tmp_path)["step"]
    assert 0 <= cost.seconds < 60
    assert cost.peak_mb > 1


def test_a_step_that_died_is_done_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_step(tmp_path, "step", int, lambda: 1 // 0)
    assert run_step(tmp_path, "step", int, lambda: 7) == 7


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"seconds": 1}'])
def test_a_step_whose_file_is_damaged_is_done_again(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    run_step(tmp_path, "step", dict[str, int], lambda: {"n": 1})
    (tmp_path / "step.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"result of a step.*step\.json.*doctor --repair"):
        step_result(tmp_path, "step", dict[str, int])
    assert run_step(tmp_path, "step", dict[str, int], lambda: {"n": 2}) == {"n": 2}
    assert "Step step runs again" in caplog.text
    assert run_step(tmp_path, "step", dict[str, int], lambda: {"n": 3}) == {"n": 2}


def test_no_changed_byte_of_a_step_gives_another_result(tmp_path: Path) -> None:
    result = {"params": {"rate": 0.0123, "kind": "gru"}, "n": 40}
    run_step(tmp_path, "step", dict[str, Any], lambda: result)
    refused = 0
    for _ in flips(tmp_path / "step.json", 100):
        try:
            assert step_result(tmp_path, "step", dict[str, Any]) == result
        except StoreError:
            refused += 1
    assert refused > 50


def test_damaged_settings_are_a_clear_error(tmp_path: Path) -> None:
    write_settings(tmp_path, TrainSettings(root=tmp_path, max_fold_targets=60))
    path = tmp_path / "settings.json"
    path.write_text(path.read_text().replace("60", "61"))
    with pytest.raises(StoreError, match=r"settings of a training.*Train again"):
        read_settings(tmp_path, tmp_path)


def test_other_settings_make_another_folder(tmp_path: Path) -> None:
    chosen = TrainSettings(root=tmp_path)
    moved = chosen.model_copy(update={"root": tmp_path / "elsewhere"})
    other = chosen.model_copy(update={"max_fold_targets": 60})
    one, same, new = (
        training_run_dir(tmp_path / "abc", "d", s).name for s in (chosen, moved, other)
    )
    assert one == same != new


def test_a_successor_has_a_folder_of_its_own_and_the_same_settings(tmp_path: Path) -> None:
    told = TrainSettings(root=tmp_path / "here", max_fold_targets=60)
    plain = training_run_dir(tmp_path / "abc", "d", told)
    assert training_run_dir(tmp_path / "abc", "d", told, purpose="warm, after 3").name != plain.name
    write_settings(plain, told)
    moved = read_settings(plain, tmp_path / "there")
    assert (moved.root, moved.max_fold_targets) == (tmp_path / "there", 60)
    assert read_settings(tmp_path / "absent", tmp_path) == TrainSettings(root=tmp_path)
