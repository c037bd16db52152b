"""The password of the Prefect server is one of its own, lasting, and nobody else can read it."""

from pathlib import Path

import pytest

from chronotope.runtime.prefect_password import PASSWORD_VARIABLE, password_file, prefect_password


@pytest.fixture(autouse=True)
def _no_password_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


def the_file(root: Path) -> Path:
    path = password_file(root)
    assert path is not None
    return path


def test_it_lasts_and_only_this_account_reads_it(tmp_path: Path) -> None:
    password = prefect_password(tmp_path)
    user, secret = password.split(":")
    assert (user, len(secret) >= 40) == ("chronotope", True)
    assert prefect_password(tmp_path) == password
    assert the_file(tmp_path).read_text().strip() == password
    assert the_file(tmp_path).stat().st_mode & 0o777 == 0o600
    assert prefect_password(tmp_path / "elsewhere") != password
    assert [path.name for path in the_file(tmp_path).parent.iterdir()] == ["prefect-password"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_one_that_others_may_know_is_replaced(tmp_path: Path, mode: int) -> None:
    password = prefect_password(tmp_path)
    the_file(tmp_path).chmod(mode)
    assert prefect_password(tmp_path) not in {password, ""}
    assert the_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_link_and_an_empty_file_are_replaced(tmp_path: Path) -> None:
    target, path = tmp_path / "known", the_file(tmp_path)
    path.parent.mkdir()
    target.write_text("known:word")
    target.chmod(0o600)
    path.symlink_to(target)
    assert prefect_password(tmp_path) != "known:word"
    assert target.read_text() == "known:word"
    path.write_text("")
    assert prefect_password(tmp_path)


def test_an_operators_own_password_is_used_and_no_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "me:mine")
    assert (prefect_password(tmp_path), password_file(tmp_path)) == ("me:mine", None)
    assert list(tmp_path.iterdir()) == []
