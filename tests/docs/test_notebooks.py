"""Notebooks of the docs run from top to bottom; the lines of the README do what they say."""

import re
import runpy
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import chronotope as ct
from tests.conftest import PROJECT

SCRIPT = PROJECT / "docs" / "notebooks" / "generate.py"
PAGES = runpy.run_path(str(SCRIPT), run_name="notebook_pages")  # by its own name it writes pages
MAX_LINES, MAX_CPU_S = 8, 60.0


@pytest.mark.slow
@pytest.mark.parametrize("script", PAGES["notebook_paths"](), ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = script.read_text(encoding="utf-8")
    if package := PAGES["missing_package"](source):
        pytest.skip(f"{package} is not installed: pip install chronotope[demo]")
    monkeypatch.chdir(tmp_path)
    start_s = time.process_time()
    page = PAGES["page"](source)
    assert time.process_time() - start_s < MAX_CPU_S
    assert page.startswith("# ")
    assert "<table" in page
    assert "/home/" not in page


def test_eight_lines_lead_from_a_frame_to_ten_items_and_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert code in (PROJECT / "docs" / "python-api.md").read_text(encoding="utf-8")
    assert len([line for line in code.splitlines() if line]) <= MAX_LINES
    city, _ = ct.datasets.load("simulated_city", n_events=3_000)
    visits = city.to_pandas()[["user_id", "item_id", "occurred_at"]]
    visits.columns = pd.Index(["guest", "dish", "ordered_at"])
    visits.to_csv(tmp_path / "visits.csv", index=False)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - our own lines
    shown = capsys.readouterr().out
    assert len(names["model"].recommend(names["log"].users()[0], k=10)) == 10
    assert all(name in shown for name in ("chronotope", "popularity", "user_counts", "ease"))


def test_a_notebook_without_its_package_is_shown_without_outputs() -> None:
    script = "# ---\n#   requires: no_such_package\n# ---\n# %% [markdown]\n# # A\n# %%\n1 + 1\n"
    page = PAGES["page"](script)
    assert page.startswith("# A\n\n*Without outputs: `no_such_package`")
    assert page.endswith("```python\n1 + 1\n```\n")


def test_cells_are_text_or_code_and_the_last_expression_is_shown() -> None:
    cells = list(
        PAGES["read_cells"]("# head\n# %% [markdown]\n# # Title\n#\n# text\n\n# %%\n1 + 1\n")
    )
    assert [(cell.source, cell.is_markdown) for cell in cells] == [
        ("# Title\n\ntext", True),
        ("1 + 1", False),
    ]
    assert list(PAGES["run_cell"]("print('a')\nx = 1", {})) == ["```text\na\n```"]
    assert list(PAGES["run_cell"]("1 + 1", {})) == ["```text\n2\n```"]
    with pytest.raises(ZeroDivisionError):
        list(PAGES["run_cell"]("1 / 0", {}))


def test_the_script_of_the_pages_is_no_notebook() -> None:
    names = [path.stem for path in PAGES["notebook_paths"]()]
    assert "five_minutes" in names
    assert "generate" not in names
