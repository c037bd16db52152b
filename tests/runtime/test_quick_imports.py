"""Collections of garbage pause while packages are imported, and go on as before."""

import gc

import pytest

from chronotope.runtime.quick_imports import quick_imports


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
