"""Public names of the packages: ``__all__`` lists exactly what a package imports for its users."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

import pytest

PACKAGES_ROOT = Path(__file__).parent.parent / "components"
LIGHT_PACKAGES = ("feedback", "inference", "monitoring", "registry", "report", "splitting")
"""Packages with heavy modules, or imported by the command line: ``import`` stays cheap."""
HEAVY_LIBRARIES = ("deltalake", "duckdb", "mlflow", "pandas", "prefect", "scipy", "torch")


def _imported_names(source: str) -> list[str]:
    """Public names that a module imports from ``chronotope`` at its top level, sorted.

    Names that a lazy package imports for type checkers alone count as well.
    """
    body = ast.parse(source).body
    lazy = [node for block in body if _is_type_checking(block) for node in block.body]
    imports = [
        node
        for node in [*body, *(lazy if "def __getattr__" in source else [])]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "chronotope"
    ]
    names = [alias.asname or alias.name for node in imports for alias in node.names]
    return sorted(name for name in names if not name.startswith("_"))


def _is_type_checking(node: ast.stmt) -> TypeGuard[ast.If]:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _exporting_packages() -> dict[str, str]:
    """Name and ``__init__`` source of every package that exports something."""
    sources = {
        ".".join(path.parent.relative_to(PACKAGES_ROOT).parts): path.read_text(encoding="utf-8")
        for path in sorted((PACKAGES_ROOT / "chronotope").rglob("__init__.py"))
    }
    return {
        package: source
        for package, source in sources.items()
        if _imported_names(source) or "__all__" in source
    }


def _public_names(package: ModuleType) -> list[str]:
    return list(getattr(package, "__all__", []))


def _sort_key(name: str) -> tuple[int, str]:
    """Order of ruff's RUF022: constants, classes, functions."""
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name


def _undocumented(package: ModuleType) -> list[str]:
    """Exported classes and functions without a docstring of their own."""
    exported = {name: getattr(package, name) for name in _public_names(package)}
    return [
        name
        for name, value in exported.items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and not value.__doc__
    ]


EXPORTING_PACKAGES = _exporting_packages()


@pytest.mark.parametrize("package_name", EXPORTING_PACKAGES)
def test_all_lists_the_imported_names_in_order(package_name: str) -> None:
    package = importlib.import_module(package_name)
    declared = _public_names(package)
    assert sorted(declared) == _imported_names(EXPORTING_PACKAGES[package_name])
    assert declared == sorted(declared, key=_sort_key)


@pytest.mark.parametrize("package_name", EXPORTING_PACKAGES)
def test_no_exported_name_is_private(package_name: str) -> None:
    package = importlib.import_module(package_name)
    assert [name for name in _public_names(package) if name.startswith("_")] == []


@pytest.mark.parametrize("package_name", EXPORTING_PACKAGES)
def test_every_exported_name_has_a_docstring(package_name: str) -> None:
    assert _undocumented(importlib.import_module(package_name)) == []


def test_exporting_packages_are_found() -> None:
    assert {"chronotope.lake", "chronotope.runtime.engine"} <= set(EXPORTING_PACKAGES)
    assert {f"chronotope.{name}" for name in LIGHT_PACKAGES} <= set(EXPORTING_PACKAGES)


def test_light_packages_load_no_heavy_library() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(PACKAGES_ROOT)!r}); "
        f"import {', '.join(f'chronotope.{name}' for name in LIGHT_PACKAGES)}; "
        f"print(sorted(set({HEAVY_LIBRARIES!r}) & set(sys.modules)))"
    )
    process = subprocess.run(  # noqa: S603 - our interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "[]"


def test_a_private_or_foreign_import_is_not_an_export() -> None:
    source = "from chronotope.lake.table import Table, _helper\nfrom typing import Any\n"
    assert _imported_names(source) == ["Table"]


def test_a_missing_docstring_is_reported() -> None:
    module = ModuleType("module")

    class Bare:
        pass

    module.Bare, module.__all__ = Bare, ["Bare"]  # type: ignore[attr-defined]
    assert _undocumented(module) == ["Bare"]
