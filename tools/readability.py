"""Readability of the source, in numbers: ``python tools/readability.py components flows``.

Prints one figure a line. The exit code is 1 if a figure is past its bound; the worst places are
named then. A figure does not make a name good, but the ones below have caught the bad ones.
"""

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_FILLER_SHARE: Final = 0.01
"""Filler words among all names: nobody can search for `found`; other libraries have 0 to 0.4 %."""

MIN_WORDS_PER_NAME: Final = 1.6
"""Words in a name: `item_scores` says its role, `values` does not; others have 1.4 to 2."""

MAX_DUPLICATE_CLASSES: Final = 0
"""Class names defined twice: a search for a class has one answer."""

MAX_MODULES_IN_PACKAGE: Final = 20
"""Modules side by side: a longer list is not read, it is searched."""

MAX_UNTYPED_FUNCTIONS: Final = 0
"""Functions without all annotations: Prefect, pydantic and typer read them at run time."""

MAX_LONG_FILES: Final = 0
"""Files past ``FILE_LINES``: one idea a file."""

MAX_LONG_FUNCTIONS: Final = 0
"""Functions past ``FUNCTION_LINES``: a function fits on one screen."""

MAX_ASSIGNED_LAMBDAS: Final = 0
"""Lambdas with a name: a ``def`` has types and a name in the traceback."""

MAX_LOOSE_RESULTS: Final = 10
"""Functions that return ``dict[str, Any]``: string keys are not checked; JSON needs a few."""

FILE_LINES: Final = 400
FUNCTION_LINES: Final = 60
N_PLACES: Final = 12
"""Places named for a figure past its bound."""

FILLER_WORDS: Final = frozenset(
    """
    found told said kept of at each one some known given asked made taken both apart here there
    now then most least many few rest whole wish say says tell tells speak way what who whom whose
    how where which thing things other others another it that this such same like more less own
    """.split()  # noqa: SIM905 - shorter than a list of strings
)
_WORD_BOUNDARY: Final = re.compile(r"_|(?<=[a-z])(?=[A-Z])")

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One parsed module.

    Attributes:
        path: The file.
        text: Its source.
        tree: Its syntax tree.
    """

    path: Path
    text: str
    tree: ast.Module

    def location(self, node: ast.stmt | ast.expr | ast.arg) -> str:
        """File and line of a node."""
        return f"{self.path}:{node.lineno}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number with its bound.

    Attributes:
        name: What is measured.
        value: The measured number.
        bound: Largest value allowed, or smallest if ``is_minimum``.
        places: Where it comes from, worst first.
        is_minimum: Whether the value must reach the bound instead of staying below it.
    """

    name: str
    value: float
    bound: float
    places: Sequence[str] = ()
    is_minimum: bool = False

    @property
    def is_past_bound(self) -> bool:
        """Whether the bound is violated."""
        return self.value < self.bound if self.is_minimum else self.value > self.bound

    def __str__(self) -> str:
        """The number, its bound and, past the bound, the worst places."""
        relation = ">=" if self.is_minimum else "<="
        line = f"{self.name} {self.value:g} (bound {relation} {self.bound:g})"
        if not self.is_past_bound:
            return line
        return "\n".join([f"{line}  PAST ITS BOUND", *(f"  {p}" for p in self.places[:N_PLACES])])


def read_sources(roots: Sequence[Path]) -> list[SourceFile]:
    """Modules below the roots, tests excluded."""
    paths = (path for root in roots for path in sorted(root.rglob("*.py")))
    sources = ((path, path.read_text(encoding="utf-8")) for path in paths if not _is_test(path))
    return [SourceFile(path, text, ast.parse(text)) for path, text in sources]


def measure(files: Sequence[SourceFile]) -> list[Figure]:
    """All figures of the modules."""
    return [*_name_figures(files), *_layout_figures(files), *_function_figures(files)]


def _is_test(path: Path) -> bool:
    return path.name.startswith("test_")


def _name_figures(files: Sequence[SourceFile]) -> Iterator[Figure]:
    names = [pair for file in files for pair in _bound_names(file)]
    fillers = [(name, place) for name, place in names if name in FILLER_WORDS]
    counts = Counter(name for name, _ in fillers)
    first_places = dict(reversed(fillers))
    ranking = [f"{name} ({n} times): {first_places[name]}" for name, n in counts.most_common()]
    n_names = max(1, len(names))
    yield Figure("filler_share", round(len(fillers) / n_names, 4), MAX_FILLER_SHARE, ranking)
    n_words = sum(len([word for word in _WORD_BOUNDARY.split(name) if word]) for name, _ in names)
    single_words = Counter(name for name, _ in names if not _WORD_BOUNDARY.search(name))
    commonest = [f"{name}: {n} times" for name, n in single_words.most_common(N_PLACES)]
    words_per_name = round(n_words / n_names, 3)
    yield Figure(
        "words_per_name", words_per_name, MIN_WORDS_PER_NAME, commonest, is_minimum=bool(names)
    )


def _bound_names(file: SourceFile) -> Iterator[tuple[str, str]]:
    """Names of variables, parameters and functions without their underscores, and places."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            bound = [node.name, *(arg.arg for arg in _parameters(node))]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound = [node.id]
        else:
            continue
        for name in bound:
            if name.strip("_") and not name.startswith("__"):
                yield name.strip("_"), file.location(node)


def _layout_figures(files: Sequence[SourceFile]) -> Iterator[Figure]:
    classes: dict[str, list[str]] = {}
    for file in files:
        for node in ast.walk(file.tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes.setdefault(node.name, []).append(file.location(node))
    duplicates = [f"{name}: {', '.join(p)}" for name, p in classes.items() if len(p) > 1]
    yield Figure("duplicate_classes", len(duplicates), MAX_DUPLICATE_CLASSES, duplicates)
    n_modules = Counter(file.path.parent for file in files if file.path.name != "__init__.py")
    widest = [f"{folder}: {n} modules" for folder, n in n_modules.most_common(N_PLACES)]
    n_widest = max(n_modules.values(), default=0)
    yield Figure("modules_in_package", n_widest, MAX_MODULES_IN_PACKAGE, widest)
    long_files = [str(file.path) for file in files if file.text.count("\n") > FILE_LINES]
    yield Figure("long_files", len(long_files), MAX_LONG_FILES, long_files)


def _function_figures(files: Sequence[SourceFile]) -> Iterator[Figure]:
    functions = [pair for file in files for pair in _functions(file)]
    untyped = [place for node, place in functions if not _is_typed(node)]
    yield Figure("untyped_functions", len(untyped), MAX_UNTYPED_FUNCTIONS, untyped)
    lengthy = [place for node, place in functions if _n_lines(node) > FUNCTION_LINES]
    yield Figure("long_functions", len(lengthy), MAX_LONG_FUNCTIONS, lengthy)
    loose = [place for node, place in functions if _is_loose(node)]
    yield Figure("loose_results", len(loose), MAX_LOOSE_RESULTS, loose)
    lambdas = [place for file in files for place in _assigned_lambdas(file)]
    yield Figure("assigned_lambdas", len(lambdas), MAX_ASSIGNED_LAMBDAS, lambdas)


def _functions(file: SourceFile) -> Iterator[tuple[FunctionNode, str]]:
    for node in ast.walk(file.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, f"{file.location(node)} {node.name}"


def _parameters(function: FunctionNode) -> list[ast.arg]:
    """Parameters but ``self`` and ``cls``."""
    arguments = function.args
    declared = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [parameter for parameter in declared if parameter.arg not in ("self", "cls")]


def _is_typed(function: FunctionNode) -> bool:
    parameters = _parameters(function)
    return function.returns is not None and all(p.annotation is not None for p in parameters)


def _is_loose(function: FunctionNode) -> bool:
    return function.returns is not None and ast.unparse(function.returns) == "dict[str, Any]"


def _n_lines(function: FunctionNode) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _assigned_lambdas(file: SourceFile) -> Iterator[str]:
    for node in ast.walk(file.tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(
            node.value, ast.Lambda
        ):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) for target in targets):  # an attribute is a hook
            yield file.location(node)


def main(arguments: Sequence[str]) -> int:
    """Print all figures of the folders; 1 if one is past its bound."""
    figures = measure(read_sources([Path(argument) for argument in arguments]))
    print("\n".join(map(str, figures)))
    return int(any(figure.is_past_bound for figure in figures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["components", "flows"]))
