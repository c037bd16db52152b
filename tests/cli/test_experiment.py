"""The command, over a registry and a log that a service with an experiment has left."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.experiments.experiment import Experiment, store_experiment
from chronotope.lake import InteractionLog
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion import set_challenger
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api.app import create_app
from chronotope.serving.settings import ServeSettings
from tests.inference.hand_made import fill_lake, register_twice
from tests.serving.test_answers import ask, event, ids
from tests.serving.town import LocalClient

ARMS: list[dict[str, Any]] = [
    {"name": "old", "share": 0.5, "explore": {"share": 0.4}},
    {"name": "new", "share": 0.5, "model": "2"},
    {"name": "next", "share": 1, "model": "challenger", "mode": "shadow"},
]
DESIGN = Experiment.model_validate({"name": "one", "arms": ARMS})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty users were shown three items each, and took the first."""
    root = tmp_path_factory.mktemp("root")
    fill_lake(root)
    register_twice(root)
    set_challenger(open_store(Workspace(root).mlruns), "city", "2")
    settings = ServeSettings(dataset="city", root=root, poll_s=3600, experiment=DESIGN)
    with LocalClient(create_app(settings)) as client:
        for n in range(40):
            said = ask(client, user_id=f"u{n}", request_time="2020-10-01T18:00Z", k=3)
            told = event(f"e{n}", ids(said)[0], f"u{n}", "2020-10-01T18:05Z")
            client.post("/events", json=told)
    return root


def run(root: Path, *words: str) -> tuple[int, str]:
    given = ["experiment", "--dataset", "city", "--root", str(root), *words]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, given)
    return done.exit_code, " ".join((done.stdout + done.stderr).split())


@pytest.mark.slow
def test_it_tells_of_arms_shadows_and_policies(root: Path, tmp_path: Path) -> None:
    page = tmp_path / "found.html"
    code, told = run(root, "--min-users", "5", "--html", str(page))
    assert code == 0, told
    assert "Experiment one" in told
    report = json.loads(run(root, "--min-users", "5", "--json")[1])
    assert [arm["name"] for arm in report["arms"]] == ["old", "new"]
    assert [arm["versions"] for arm in report["arms"]] == [["1"], ["2"]]
    assert sum(arm["n_hits"] for arm in report["arms"]) == 40
    assert (report["shadows"][0]["versions"], report["shadows"][0]["n_lists"]) == (["2"], 40)
    (policy,) = report["policies"]
    assert policy["estimate"]["n_lists"] == report["arms"][0]["n_lists"]
    for words in ("old", "new", "Off-policy", "Shadow arms"):
        assert words in page.read_text()
    assert "http" not in page.read_text()


@pytest.mark.slow
def test_with_few_users_it_says_not_enough(root: Path) -> None:
    code, told = run(root, "--name", "one", "--policy", "2", "--policy", "challenger")
    assert code == 0, told
    assert told.count("not enough") == 5  # two arms, a shadow and two policies
    assert "worse" not in told
    assert "anytime-valid" not in told
    assert "read only once" not in told


@pytest.mark.slow
def test_what_it_cannot_find_is_told(root: Path) -> None:
    assert "Known are: one" in run(root, "--name", "two")[1]
    code, told = run(root, "--policy", "99")
    assert (code, "no such model version" in told) == (1, True)


def test_before_anything_was_served_it_says_what_to_do(tmp_path: Path) -> None:
    assert "No such dataset" in run(tmp_path)[1]
    fill_lake(tmp_path)
    code, told = run(tmp_path)
    assert (code, "chronotope serve city --experiment FILE" in told) == (1, True)


def test_without_a_design_or_with_several(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    InteractionLog(Workspace(tmp_path).interactions("city")).close()
    code, told = run(tmp_path)
    assert (code, "No list was drawn at random" in told) == (0, True)
    for name in ("one", "two"):
        folder = Workspace(tmp_path).experiments("city")
        store_experiment(folder, DESIGN.model_copy(update={"name": name}))
    assert "--name: one, two" in run(tmp_path)[1]


def test_a_wrong_design_is_refused_before_anybody_is_answered(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: one\narms: [{name: a, share: 0.5}]\n")
    words = ["serve", "city", "--root", str(tmp_path), "--experiment", str(wrong)]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, "add up to 1" in " ".join(done.stderr.split())) == (1, True)
