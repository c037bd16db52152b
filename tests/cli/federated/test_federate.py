"""``chronotope federate``: options override the file; contradictions are refused at once."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app

ROBUST = Path(__file__).parents[3] / "conf/federated/robust.yaml"
FLOWER = str(ROBUST.with_name("flower.yaml"))


def invoked(root: Path, *options: str) -> tuple[int, str]:
    """Exit code and output of a dry run."""
    arguments = ["federate", "simulated_city", "--root", str(root), "--dry-run", *options]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_options_stand_in_for_the_file(tmp_path: Path) -> None:
    options = ["--clients", "5", "--by", "place", "--rounds", "3", "--config", str(ROBUST)]
    code, shown = invoked(tmp_path, *options)
    settings = json.loads(shown)
    assert code == 0
    assert (settings["n_clients"], settings["by"]) == (5, "place")
    assert settings["federation"]["rounds"] == 3
    assert settings["federation"]["aggregation"]["rule"] == "trimmed_mean"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("yaml", "options", "message"),
    [
        ("", ["--clients", "1"], "greater than or equal to 2"),
        ("", ["--client-roots", "a,b", "--clients", "2"], "Leave out --clients"),
        ("", ["--client-roots", "a"], "at least two clients"),
        ("", ["--client-roots", "a,a"], "named twice"),
        ("federation: {aggregation: {rule: median}}", [], "secure aggregation hides"),
        ("training: {privacy: {epsilon: 3}}", [], "of a training on one lake"),
        ("training: {model: {context: [weather]}}", [], "Context columns are of one log"),
        ("- a list", [], "must hold a mapping. Received: a list"),
        ("training: 3", [], "training: "),
        ("federation: {round: 3}", [], "federation.round: no such key; did you mean `rounds`"),
    ],
    ids=[
        "one client",
        "both kinds",
        "one root",
        "twice",
        "rule",
        "privacy",
        "context",
        "list",
        "number",
        "key",
    ],
)
def test_contradictions_are_refused(
    tmp_path: Path, yaml: str, options: list[str], message: str
) -> None:
    (tmp_path / "settings.yaml").write_text(yaml, encoding="utf-8")
    code, shown = invoked(tmp_path, "--config", str(tmp_path / "settings.yaml"), *options)
    assert code == 1
    assert message in " ".join(shown.split())


def test_all_clients_without_a_lake_are_named_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    roots = [str(tmp_path / name) for name in ("empty", "missing", "gone")]
    code, shown = invoked(tmp_path, "--client-roots", ",".join(roots))
    text = "".join(shown.split())
    assert code == 1
    assert "3of3clientshavenolakeofsimulated_city" in text
    assert f"{tmp_path}/empty:noeventswereingested" in text
    assert all(f"{tmp_path}/{name}:nosuchfolder" in text for name in ("missing", "gone"))
    assert not (tmp_path / "data").exists()


def test_clients_behind_an_exchange(tmp_path: Path) -> None:
    exchange = str(tmp_path / "exchange")
    code, shown = invoked(tmp_path, "--exchange", exchange, "--clients", "3", "--config", FLOWER)
    settings = json.loads(shown)
    assert code == 0
    assert (settings["exchange"], settings["n_clients"]) == (exchange, 3)
    assert not (tmp_path / "exchange").exists()


@pytest.mark.parametrize(
    ("yaml", "options", "message"),
    [
        ("", [], "sees each update: set federation.aggregation to secure: false"),
        ("federation: {aggregation: {secure: false, rule: median}}", [], "rule: mean"),
        ("federation: {aggregation: {secure: false}, faults: {drop_share: 0.1}}", [],
         "Faults are simulated without an exchange only"),
        ("federation: {aggregation: {secure: false}}", ["--client-roots", "a,b"], "not by both"),
        ("", ["--by", "taste"], "Leave out --by"),
    ],
    ids=["secure", "rule", "faults", "roots", "division"],
)  # fmt: skip
def test_settings_that_an_exchange_cannot_have_are_refused(
    tmp_path: Path, yaml: str, options: list[str], message: str
) -> None:
    (tmp_path / "settings.yaml").write_text(yaml, encoding="utf-8")
    config = ["--config", str(tmp_path / "settings.yaml"), "--exchange", str(tmp_path / "x")]
    code, shown = invoked(tmp_path, *config, *options)
    assert code == 1
    assert message in " ".join(shown.split())
