"""Pages of the notebooks: each script in Jupytext's percent format is run, and its outputs shown.

A gen-files script of the site. A cell ends with an expression that is shown as Jupyter would: as
PNG, HTML or text. An error of a cell fails the build. A notebook whose header names a package that
it ``requires`` is shown without outputs where the package is not installed.
"""

import ast
import base64
import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
_CELL: Final = re.compile(r"^# %%(?P<markdown> \[markdown\])?.*\n", re.MULTILINE)


_REQUIRES: Final = re.compile(r"^#   requires: (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a notebook.

    Attributes:
        source: Markdown without comment marks, or code.
        is_markdown: Whether it is text.
    """

    source: str
    is_markdown: bool


def notebook_paths() -> list[Path]:
    """Scripts of all notebooks, in the order of their names."""
    return sorted(path for path in HERE.glob("*.py") if path.name != Path(__file__).name)


def read_cells(script: str) -> Iterator[Cell]:
    """Cells of a script in percent format; what is above the first mark is left out."""
    marks = list(_CELL.finditer(script))
    ends = [mark.start() for mark in marks[1:]] + [len(script)]
    for mark, end in zip(marks, ends, strict=True):
        body = script[mark.end() : end].strip("\n")
        is_markdown = mark["markdown"] is not None
        if is_markdown:
            body = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        if body:
            yield Cell(body, is_markdown)


def run_cell(source: str, names: dict[str, Any]) -> Iterator[str]:
    """Run the code of a cell; yields its outputs as Markdown.

    Args:
        source: The code.
        names: Global names, which later cells share.
    """
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(tree, "cell", "exec"), names)  # noqa: S102 - our own notebooks
        value = None
        if isinstance(last, ast.Expr):
            expression = compile(ast.Expression(last.value), "cell", "eval")
            value = eval(expression, names)  # noqa: S307 - our own notebooks
    if printed.getvalue():
        yield f"```text\n{printed.getvalue().rstrip()}\n```"
    if value is not None:
        yield shown(value)


def shown(value: Any) -> str:
    """A value as Markdown: picture, HTML or text."""
    if hasattr(value, "_repr_png_"):
        picture = base64.b64encode(value._repr_png_()).decode()
        return f'<img alt="figure" src="data:image/png;base64,{picture}">'
    if hasattr(value, "to_html") and hasattr(value, "columns"):  # a data frame
        table = value.to_html(index=value.index.name is not None, border=0, max_rows=12)
        table = table.replace(' class="dataframe"', "").replace(' style="text-align: right;"', "")
        return f'<div class="md-typeset__scrollwrap">\n{table}\n</div>'
    if hasattr(value, "_repr_html_"):
        return str(value._repr_html_())
    return f"```text\n{value!r}\n```"


def missing_package(script: str) -> str | None:
    """Package that a notebook requires and that is not installed; None if there is none."""
    required = _REQUIRES.search(script)
    return required[1] if required and find_spec(required[1]) is None else None


def page(script: str) -> str:
    """Markdown page of a notebook: its text, code and outputs."""
    missing = missing_package(script)
    if missing:
        note = f"*Without outputs: `{missing}` is not installed where this page was made.*"
        first, *rest = (
            cell.source if cell.is_markdown else f"```python\n{cell.source}\n```"
            for cell in read_cells(script)
        )
        return "\n\n".join([first, note, *rest]) + "\n"
    names: dict[str, Any] = {"__name__": "__notebook__"}
    blocks = []
    for cell in read_cells(script):
        if cell.is_markdown:
            blocks.append(cell.source)
        else:
            blocks += [f"```python\n{cell.source}\n```", *run_cell(cell.source, names)]
    return "\n\n".join(blocks) + "\n"


def write_pages() -> None:
    """Write the page of each notebook into the site."""
    import mkdocs_gen_files

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    for path in notebook_paths():
        with mkdocs_gen_files.open(f"notebooks/{path.stem}.md", "w") as file:
            file.write(page(path.read_text(encoding="utf-8")))


if __name__ == "<run_path>":  # how gen-files runs it
    write_pages()
