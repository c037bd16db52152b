"""Layout of the source: width of packages and unique class names, read without an import."""

import ast
from collections import Counter, defaultdict
from pathlib import Path

from tests.conftest import LONGEST_FIRST, PROJECT

SOURCE_ROOTS = (Path("components"), Path("flows"))
MAX_MODULES = 20


def _source_paths() -> list[Path]:
    project_root = Path(__file__).parent.parent
    return [path for root in SOURCE_ROOTS for path in sorted((project_root / root).rglob("*.py"))]


def _wide_packages(paths: list[Path], max_modules: int) -> dict[Path, int]:
    n_modules = Counter(path.parent for path in paths if path.name != "__init__.py")
    return {folder: n for folder, n in n_modules.items() if n > max_modules}


def _duplicate_classes(sources: dict[str, str]) -> dict[str, list[str]]:
    places = defaultdict(list)
    for path, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path)
    return {name: paths for name, paths in places.items() if len(paths) > 1}


def test_no_package_has_more_than_20_modules() -> None:
    assert len(_source_paths()) > 200
    assert _wide_packages(_source_paths(), MAX_MODULES) == {}


def test_every_public_class_name_is_defined_once() -> None:
    sources = {str(path): path.read_text(encoding="utf-8") for path in _source_paths()}
    assert _duplicate_classes(sources) == {}


def test_a_package_one_module_past_the_bound_is_reported() -> None:
    paths = [Path(f"pkg/module_{i}.py") for i in range(MAX_MODULES + 1)]
    assert _wide_packages([*paths, Path("pkg/__init__.py")], MAX_MODULES) == {Path("pkg"): 21}
    assert _wide_packages([*paths[1:], Path("pkg/__init__.py")], MAX_MODULES) == {}


def test_a_class_defined_in_two_modules_is_reported() -> None:
    sources = {"a.py": "class Gate: ...", "b.py": "def f():\n    class Gate: ...", "c.py": ""}
    assert _duplicate_classes(sources) == {"Gate": ["a.py", "b.py"]}
    assert _duplicate_classes({"a.py": "class _Row: ...", "b.py": "class _Row: ..."}) == {}


def test_the_files_that_run_first_exist_and_hold_slow_tests() -> None:
    for name in LONGEST_FIRST:
        assert "pytest.mark.slow" in (PROJECT / name).read_text(encoding="utf-8"), name


def test_no_progress_bar_of_duckdb_gets_into_the_output() -> None:
    """A query above two seconds draws it on standard output, among what ``--json`` prints."""
    opening = {
        path: text
        for path in _source_paths()
        if "duckdb.connect(" in (text := path.read_text(encoding="utf-8"))
    }
    assert opening
    for path, text in opening.items():
        n_quiet = text.count('execute("SET enable_progress_bar = false")')
        assert n_quiet == text.count("duckdb.connect("), path
