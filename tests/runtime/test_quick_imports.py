"""Collections of garbage pause while packages are imported, and go on as before."""

import gc
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chronotope.runtime.quick_imports import deferred_import, quick_imports


def test_collection_pauses_and_goes_on() -> None:
    with quick_imports():
        assert not gc.isenabled()
        with quick_imports():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collection_goes_on_after_an_import_that_fails() -> None:
    with pytest.raises(ImportError), quick_imports():
        import chronotope.no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that binds a module of another, and notes when that one loads."""
    (tmp_path / "big_package").mkdir()
    (tmp_path / "big_package" / "__init__.py").write_text("loads = []\n")
    (tmp_path / "big_package" / "part.py").write_text(
        "import big_package\nbig_package.loads.append(__name__)\nanswer = 42\n"
    )
    (tmp_path / "its_user.py").write_text("from big_package import part\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("big_package", "big_package.part", "its_user"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("packages")
def test_a_deferred_module_loads_when_it_is_used() -> None:
    with deferred_import("big_package.part"):
        its_user = importlib.import_module("its_user")
    package = importlib.import_module("big_package")
    assert package.loads == []
    assert its_user.part.answer == 42
    assert package.loads == ["big_package.part"]
    assert importlib.import_module("big_package.part").answer == 42
    with pytest.raises(AttributeError):
        its_user.part.no_such_name  # noqa: B018
    assert package.loads == ["big_package.part"]


@pytest.mark.usefixtures("packages")
def test_a_deferred_module_may_be_used_inside_the_block_and_imported_after_it() -> None:
    with deferred_import("big_package.part"):
        its_user = importlib.import_module("its_user")
        assert its_user.part.answer == 42
    real = importlib.import_module("big_package.part")
    assert real is not its_user.part
    with deferred_import("big_package.part"):  # loaded already: nothing is deferred
        assert importlib.import_module("big_package.part") is real


def test_great_expectations_does_not_load_the_statistics_it_does_not_use() -> None:
    code = (
        "import sys; from chronotope.validation.gx_context import import_great_expectations;"
        "import_great_expectations(); assert 'scipy.stats' not in sys.modules;"
        "import great_expectations.expectations.core as core;"
        "module = sys.modules[core.ExpectColumnKLDivergenceToBeLessThan.__module__];"
        "from scipy import stats; assert module.stats.entropy is stats.entropy"
    )
    subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        timeout=120,
    )
