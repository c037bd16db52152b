"""A small package of somebody else's that provides a recommender by its entry point."""

import importlib
import sys
from pathlib import Path
from typing import Final

import pytest

TRENDING: Final = '''
import numpy as np

class Trending:
    """Items by their events in the last three days that were observed."""

    name = "trending"
    history_len = 1

    def fit(self, log, catalog):
        self.n_items = catalog.n_items
        self.observe(log)
        return self

    def observe(self, log):
        is_late = log.occurred_s > log.occurred_s.max() - 3 * 86_400
        self.counts = np.bincount(log.item_idx[is_late], minlength=self.n_items).astype(float)

    def scores(self, queries):
        return np.tile(self.counts, (len(queries), 1))
'''


def install_package(site: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay out a package as pip does, in a folder that comes first on the path.

    Args:
        site: The folder.
        source: Its one module.
        monkeypatch: Removes it from the path after the test.
    """
    info = site / "trending_model-1.2.dist-info"
    info.mkdir(parents=True)
    (site / "trending_model.py").write_text(source, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trending-model\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[chronotope.recommenders]\ntrending = trending_model:Trending\n"
    )
    (info / "RECORD").write_text("trending_model.py,,\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "trending_model", raising=False)
    importlib.invalidate_caches()
