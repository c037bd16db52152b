"""What a terminal shows of a foreign text is the text."""

from io import StringIO

import pytest
from rich.table import Table
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.contracts.errors import DataError

HOSTILE = "[/] [link=http://192.0.2.1]x[/link] :skull: \x1b]0;title\x07 \x9b2J \u202eabc"
SHOWN = r"[/] [link=http://192.0.2.1]x[/link] :skull: \x1b]0;title\x07 \x9b2J \u202eabc"


def test_prints_and_tables_show_texts_as_they_are() -> None:
    file = StringIO()
    console = TerminalConsole(file=file, width=200, force_terminal=True, color_system=None)
    table = Table("what", title=HOSTILE)
    table.add_row(HOSTILE)
    console.print(table)
    console.print(HOSTILE)
    shown = file.getvalue()
    assert shown.count(SHOWN) == 3
    assert not {"\x07", "\x9b", "\u202e"} & {*shown}


def run_failing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the command line writes to standard error when a command raises."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("chronotope.cli.report.latest_report", fail)
    done = CliRunner().invoke(app, ["report", "--dataset", "shop"])
    assert done.exit_code == 1
    return " ".join(done.stderr.split())


def test_errors_show_texts_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert SHOWN in run_failing(DataError("An id cannot be read", received=HOSTILE), monkeypatch)


def test_a_server_of_prefect_that_does_not_start_is_an_error_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = "Timed out while attempting to connect to ephemeral Prefect API server."
    shown = run_failing(RuntimeError(slow), monkeypatch)
    assert shown.startswith("Error: Prefect's own server did not start")
    assert "PREFECT_API_URL" in shown
