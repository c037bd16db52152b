"""A posted item survives ``kill -9`` of the service, right after it was acknowledged."""

import signal
import time
import urllib.error
from pathlib import Path

import pytest

from chronotope.registry.mlflow_store import open_store
from chronotope.registry.model_versions import register_version
from chronotope.registry.promotion import promote
from chronotope.runtime.workspace import Workspace
from tests.serving.content_town import AT, NEW_FILM, ContentTown
from tests.serving.test_process import Server

pytestmark = pytest.mark.slow

YAML = """
name: city
events:
  format: csv
  path: events.csv
  columns: {user_id: user, item_id: item, occurred_at: time}
items:
  format: csv
  path: items.csv
  columns: {item_id: item, title: title, text: text, category: category}
  content: {text: [title, text]}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    town, store = ContentTown.build(tmp_path), open_store(Workspace(tmp_path).mlruns)
    bundle = town.root / "versions" / "1"
    with store.run("city", "town") as tracker:
        register_version(store, name="city", bundle_dir=bundle, run_id=tracker.run_id, tags={})
    promote(store, "city", "1", expected_champion=None, key="first", reason="first")
    conf = tmp_path / "conf" / "datasets"
    conf.mkdir(parents=True)
    (conf / "city.yaml").write_text(YAML)
    return tmp_path


def wait_until_ranked(server: Server) -> float:
    """Seconds until the item is in the list of a user who likes its kind."""
    started = time.monotonic()
    body = {"user_id": "u00", "request_time": AT, "k": 12, "explore": False}
    while time.monotonic() - started < 60:
        items = server.post("/recommend", body)["items"]
        if any(item["id"] == NEW_FILM["item_id"] for item in items):
            return time.monotonic() - started
        time.sleep(0.1)
    pytest.fail(f"it never was in the list: {server.get('/new-items/new')}")


def test_it_survives_a_kill(root: Path) -> None:
    server = Server(root, cwd=root)
    try:
        assert server.post("/items", NEW_FILM)["n_new"] == 1
        server.kill(signal.SIGKILL)  # right after the acknowledgement
        server = Server(root, cwd=root)
        wait_until_ranked(server)
        assert server.get("/new-items/new")["content"] == ["text"]
        with pytest.raises(urllib.error.HTTPError) as refused:  # the answer, no broken pipe
            server.post("/items", {"item_id": "large", "text": "x" * (3 << 20)})
        refused.value.close()
        assert refused.value.code == 413
    finally:
        server.kill(signal.SIGTERM)
