"""Lightning and scikit-learn, seconds each, are imported by code that trains with them alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
TRAINING = "chronotope.training"

MODULES_OF_LIGHTNING = {
    f"{TRAINING}.anomaly.network_modules",
    f"{TRAINING}.ddp",
    f"{TRAINING}.lightning_module",
    f"{TRAINING}.pretraining",
    f"{TRAINING}.text.classifier_module",
    f"{TRAINING}.text.fit_classifier",
    f"{TRAINING}.trainer",
}
"""Modules that cannot be imported without Lightning."""


def source_files() -> Iterator[tuple[str, str]]:
    """Names of the modules of the package and of the flows, and their source."""
    for folder, root in (("components/chronotope", "components"), ("flows", ".")):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            parts = path.relative_to(PROJECT / root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield name, path.read_text(encoding="utf-8")


def imported_at_once(source: str) -> set[str]:
    """Modules, and names in them, that an import of the source imports with it."""
    names: set[str] = set()
    statements = list(ast.parse(source).body)
    while statements:
        statement = statements.pop()
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            names |= {statement.module}
            names |= {f"{statement.module}.{alias.name}" for alias in statement.names}
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            is_for_types = isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.dump(
                statement.test
            )
            inner = [] if is_for_types else getattr(statement, "body", [])
            statements += [part for part in inner if isinstance(part, ast.stmt)]
    return names


@pytest.mark.parametrize(
    ("package", "modules"), [("lightning", MODULES_OF_LIGHTNING), ("sklearn", set[str]())]
)
def test_a_process_that_trains_nothing_does_not_import_it(package: str, modules: set[str]) -> None:
    importers = set()
    for name, source in source_files():
        imported = imported_at_once(source)
        if any(other.partition(".")[0] == package or other in modules for other in imported):
            importers.add(name)
    assert importers == modules


def test_imports_of_functions_and_of_types_are_late() -> None:
    source = """
import a.b
from c import d
if TYPE_CHECKING:
    import e
with block():
    import f
class G:
    import g
def h():
    import i
"""
    assert imported_at_once(source) == {"a.b", "c", "c.d", "f", "g"}
