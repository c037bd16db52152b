"""A user's arm is theirs for ever; a design is what its name says."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from chronotope.contracts.errors import ConfigError
from chronotope.experiments.experiment import (
    Experiment,
    load_experiment,
    read_experiment,
    store_experiment,
)

USERS = [f"user {n}" for n in range(20_000)]


def design(**told: Any) -> Experiment:
    arms = [{"name": "a", "share": 0.7}, {"name": "b", "share": 0.3, "model": "2"}]
    shadow = {"name": "s", "share": 0.5, "model": "3", "mode": "shadow"}
    return Experiment.model_validate({"name": "one", "arms": [*arms, shadow], **told})


def placed(experiment: Experiment) -> list[str]:
    return [experiment.arm_of(user).name for user in USERS]


def test_shares_are_what_they_should_be_within_chance() -> None:
    n = placed(design()).count("b")
    assert binomtest(n, len(USERS), 0.3).pvalue > 1e-3


@pytest.mark.slow
def test_a_user_stays_in_another_process() -> None:
    told = design()
    code = (
        "import sys; from chronotope.experiments.experiment import Experiment; "
        "e = Experiment.model_validate_json(sys.argv[1]); "
        "print(','.join(e.arm_of(f'user {n}').name for n in range(200)))"
    )
    words = [sys.executable, "-c", code, told.model_dump_json()]
    done = subprocess.run(words, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout.strip().split(",") == placed(told)[:200]


def test_it_is_this_very_hash_that_places_users() -> None:
    """Whoever changes it moves every user of every experiment that runs."""
    users = ("u00", "u01", "u02", "", "名前", "\ud800", "u03", "u04")
    assert "".join(design().arm_of(user).name for user in users) == "baabaaaa"


def test_salt_keeps_users_and_another_name_moves_them() -> None:
    one, two = design(salt="s"), design(name="two", salt="s")
    other = placed(design(name="two"))
    assert placed(one) == placed(two) != other
    both = sum(a == b == "b" for a, b in zip(placed(one), other, strict=True))
    assert binomtest(both, len(USERS), 0.09).pvalue > 1e-3  # the placements are independent


def test_a_larger_share_takes_users_over_and_gives_none_back() -> None:
    more = [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, "model": "2"}]
    pairs = zip(placed(design()), placed(design(arms=more)), strict=True)
    assert set(pairs) == {("a", "a"), ("a", "b"), ("b", "b")}


def test_shadows_are_drawn_apart_from_the_arms() -> None:
    told = design()
    seen = [bool(told.shadows_of(user)) for user in USERS]
    both = sum(arm == "b" and has for arm, has in zip(placed(told), seen, strict=True))
    assert binomtest(both, len(USERS), 0.15).pvalue > 1e-3


@pytest.mark.parametrize(
    ("arms", "problem"),
    [
        ([{"name": "a", "share": 0.6}], "add up to 1"),
        ([{"name": "a", "share": 0.5}, {"name": "a", "share": 0.5}], "same name"),
        ([{"name": "a", "share": 1, "mode": "shadow"}], "add up to 1"),
        ([{"name": "a", "share": 1, "model": "challenger"}], "not blessed"),
        ([{"name": "a/b", "share": 1}, {"name": "c", "share": 2}], "arms.1.share"),
    ],
)
def test_all_that_is_wrong_is_told(tmp_path: Path, arms: list[Any], problem: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(str({"name": "one", "arms": arms}))
    with pytest.raises(ConfigError, match=problem):
        read_experiment(path)


@pytest.mark.parametrize("text", [None, "{", "- 1", ""])
def test_what_is_no_experiment_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "some.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match="The experiment"):
        read_experiment(path)


def test_a_name_keeps_its_design(tmp_path: Path) -> None:
    store_experiment(tmp_path, design())
    store_experiment(tmp_path, design())
    assert load_experiment(tmp_path, "one") == design()
    with pytest.raises(ConfigError, match="new name"):
        store_experiment(tmp_path, design(salt="other"))
    with pytest.raises(ConfigError, match="Known are: one"):
        load_experiment(tmp_path, "two")
