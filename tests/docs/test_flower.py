"""docs/examples/flower: its commands are understood, and both sides name things alike."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

from typer.main import get_command

from chronotope.cli.main import app
from chronotope.federated.exchange import exchange_aggregator, order_messages
from chronotope.federated.exchange.order_messages import RoundMetrics

EXAMPLE = Path(__file__).parents[2] / "docs/examples/flower"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
SOURCES = {
    path.name: path.read_text(encoding="utf-8")
    for path in (EXAMPLE / "chronotope_flower").glob("*.py")
}
COMMANDS = dict(get_command(app).commands)  # type: ignore[attr-defined]


def constants(source: str) -> set[object]:
    return {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}


def test_the_commands_are_understood() -> None:
    commands = [
        line for line in README.splitlines() if re.match("chronotope federate.* --root", line)
    ]
    assert len(commands) >= 2
    for command in commands:
        _, name, *words = shlex.split(re.sub(r" {3,}.*", "", command))
        COMMANDS[name].make_context(name, words)


def test_the_app_uses_the_names_of_the_messages() -> None:
    server, client, folder = (
        constants(SOURCES[name]) for name in ("server_app.py", "client_app.py", "exchange.py")
    )
    assert {order_messages.AVERAGED, order_messages.COUNTS} <= folder
    assert {order_messages.METRICS, order_messages.FAILURE, order_messages.ORDER} <= client
    texts = [
        getattr(exchange_aggregator, n) for n in ("TIMEOUT", "N_CLIENTS", "FINISHED", "SUMMARY")
    ]
    assert {*texts, order_messages.METRICS, order_messages.FAILURE, order_messages.ORDER} <= server
    assert set(RoundMetrics.model_fields) <= server & client
    assert set(exchange_aggregator.TransportSummary.model_fields) <= server


def test_the_readme_pins_what_the_project_pins() -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))
    pins = [text for text in project["project"]["dependencies"] if not text.startswith("numpy")]
    assert len(pins) == 2
    assert all(f'"{pin}"' in README for pin in pins)
    for component in project["tool"]["flwr"]["app"]["components"].values():
        module, _, attribute = component.partition(":")
        assert f"\n{attribute} = " in SOURCES[f"{module.rpartition('.')[2]}.py"]


def test_no_module_of_chronotope_imports_flower_and_the_app_none_of_chronotope() -> None:
    components = Path(exchange_aggregator.__file__).parents[2]
    ours = [path for path in components.rglob("*.py") if "flwr" in path.read_text("utf-8")]
    assert ours == []
    theirs = [
        name for name, text in SOURCES.items() if re.search(r"(from|import) chronotope\b", text)
    ]
    assert theirs == []
