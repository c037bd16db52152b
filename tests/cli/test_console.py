"""What a terminal shows of a foreign text is the text."""

from io import StringIO

import pytest
import typer
from rich.table import Table

from chronotope.cli.console import command
from chronotope.cli.terminal import TerminalConsole
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


def test_errors_show_texts_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(typer.Exit), command("Reading"):
        raise DataError("An id cannot be read", received=HOSTILE)
    assert SHOWN in capsys.readouterr().err


def test_a_server_of_prefect_that_does_not_start_is_an_error_with_a_way_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    slow = "Timed out while attempting to connect to ephemeral Prefect API server."
    with pytest.raises(typer.Exit), command("Training"):
        raise RuntimeError(slow)
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.startswith("Error: Prefect's own server did not start in time")
    assert "PREFECT_API_URL" in shown
    with pytest.raises(RuntimeError, match="anything else"), command("Training"):
        raise RuntimeError("anything else")
