"""A finished step is not done again; a step that died is."""

from pathlib import Path

import pytest

from chronotope.steps.once import once, step_costs
from chronotope.steps.run_folder import keep_settings, kept_settings, run_folder
from chronotope.steps.settings import TrainSettings


def test_a_finished_step_is_read_back(tmp_path: Path) -> None:
    assert once(tmp_path, "step", lambda: {"n": 1}) == {"n": 1}
    assert once(tmp_path, "step", lambda: {"n": 2}) == {"n": 1}
    cost = step_costs(tmp_path)["step"]
    assert 0 <= cost["seconds"] < 60
    assert cost["peak_mb"] > 1


def test_a_step_that_died_is_done_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        once(tmp_path, "step", lambda: 1 // 0)
    assert once(tmp_path, "step", lambda: 7) == 7


def test_other_settings_make_another_folder(tmp_path: Path) -> None:
    chosen = TrainSettings(root=tmp_path)
    moved = chosen.model_copy(update={"root": tmp_path / "elsewhere"})
    other = chosen.model_copy(update={"max_fold_targets": 60})
    one, same, new = (run_folder(tmp_path / "abc", "d", s).name for s in (chosen, moved, other))
    assert one == same != new


def test_a_successor_has_a_folder_of_its_own_and_the_same_settings(tmp_path: Path) -> None:
    told = TrainSettings(root=tmp_path / "here", max_fold_targets=60)
    plain = run_folder(tmp_path / "abc", "d", told)
    assert run_folder(tmp_path / "abc", "d", told, purpose="warm, after 3").name != plain.name
    keep_settings(plain, told)
    moved = kept_settings(plain, tmp_path / "there")
    assert (moved.root, moved.max_fold_targets) == (tmp_path / "there", 60)
    assert kept_settings(tmp_path / "absent", tmp_path) == TrainSettings(root=tmp_path)
