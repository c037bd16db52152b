"""A small delivery with rows that must be refused."""

from pathlib import Path

import pytest

ROWS = """who,what,at,lat
ann,tea,2024-01-01T08:00:00Z,48.2
ann,tea,2024-01-02T08:00:00Z,48.2
bob,rye,2024-01-02T09:00:00Z,48.3
bob,tea,no time at all,48.2
,tea,2024-01-03T08:00:00Z,48.2
eve,rye,2999-01-01T08:00:00Z,48.2
eve,rye,2024-01-03T08:00:00Z,999
"""
CATALOGUE = "what,title\ntea,Green tea\nrye,Rye bread\n"
YAML = """
name: corner_shop
description: Seven rows, four of them bad.
licence: CC0-1.0
data_dir: {folder}
events:
  format: csv
  path: log.csv
  columns: {{user_id: who, item_id: what, occurred_at: at, lat: lat}}
items:
  format: csv
  path: items.csv
  columns: {{item_id: what, title: title}}
"""


@pytest.fixture
def corner_shop(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text(ROWS)
    (tmp_path / "items.csv").write_text(CATALOGUE)
    path = tmp_path / "corner_shop.yaml"
    path.write_text(YAML.format(folder=tmp_path))
    return path
