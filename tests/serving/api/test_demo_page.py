"""The page at ``/``: what it is made of, and that it works in a real browser."""

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import alert_is_present
from selenium.webdriver.support.wait import WebDriverWait

from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.model_versions import register_version
from chronotope.registry.promotion import promote
from chronotope.runtime.workspace import Workspace
from chronotope.testing.recommender_suite import N_ITEMS, sample_catalog
from tests.inference.hand_made import DAY, LAST_S, fill_lake
from tests.serving.browser import chromium, texts, wait
from tests.serving.test_process import Server
from tests.serving.town import WIDTH, write_graph, write_indexed

HOSTILE = "<img src=x onerror=\"document.title='taken'\">"


def test_the_page_may_run_only_itself_and_reach_only_the_service(client: TestClient) -> None:
    first, again = client.get("/"), client.get("/")
    policy = first.headers["Content-Security-Policy"].split("; ")
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', first.text))
    assert {"default-src 'none'", f"script-src 'nonce-{nonce}'", "connect-src 'self'"} <= {*policy}
    assert nonce not in again.text
    assert "{{" not in first.text


def test_the_page_is_one_document_that_writes_data_as_text_alone(client: TestClient) -> None:
    text = client.get("/").text
    assert set(re.findall(r"\w+://[\w./]*", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(src|style|on\w+)=\"", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)


def test_users_come_by_their_latest_event(client: TestClient) -> None:
    users = client.get("/users").json()["users"]
    assert users[0] == {"user_id": "u00", "n_events": 4}
    assert {user["user_id"] for user in users} == {"u00", "u01", "u02"}
    assert [u["user_id"] for u in client.get("/users?prefix=u01").json()["users"]] == ["u01"]
    assert client.get("/users?prefix=x").json()["users"] == []
    assert len(client.get("/users?limit=2").json()["users"]) == 2


def test_the_ground_is_where_the_items_lie(client: TestClient) -> None:
    points = client.get("/map-points").json()["points"]
    assert len(points) == N_ITEMS
    assert all(lat == -lon for lat, lon in points)
    assert len(client.get("/map-points?limit=4").json()["points"]) == 4


def test_the_page_is_counted_by_its_names(client: TestClient) -> None:
    for path in ("/", "/users", "/map-points"):
        client.get(path)
        told = f'chronotope_requests_total{{path="{path}",status="200"}} 1.0'
        assert told in client.get("/metrics").text


def register_town(root: Path, *, indexed: bool = False) -> None:
    """A champion that goes by the history, one of whose titles is an attack."""
    fill_lake(root)
    folder, store = root / "bundle", open_store(Workspace(root).mlruns)
    folder.mkdir()
    if indexed:
        write_indexed(folder)
    else:
        write_graph(folder / MODEL)
    titles = ("", *(HOSTILE if n == 3 else f"Shop {n}" for n in range(N_ITEMS)))
    about = {"name": "town", "dataset": "city", "data_version": "1", "history_len": WIDTH}
    catalog = replace(sample_catalog(), item_title=titles)
    write_bundle(folder, catalog, trained_until_s=LAST_S - 30 * DAY, **about)
    with store.run("city", "town") as tracker:
        register_version(store, name="city", bundle_dir=folder, run_id=tracker.run_id, tags={})
    promote(store, "city", "1", expected_champion=None, key="first", reason="first")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Chrome, str]]:
    """A browser, and the page of a service in a process of its own."""
    with chromium() as driven:
        root = tmp_path_factory.mktemp("page")
        register_town(root)
        server = Server(root)
        yield driven, f"http://127.0.0.1:{server.port}/"
        server.kill(signal.SIGTERM)


@pytest.fixture
def browser(opened: tuple[Chrome, str]) -> Chrome:
    """At user u00."""
    driven, page = opened
    driven.get("about:blank")
    driven.get(f"{page}#user=u00")
    wait(driven, "document.querySelector('[data-did]')")
    return driven


OVERHEAR = """
window.sent = {};
const ask = window.fetch;
window.fetch = (path, told) => {
  (window.sent[path] ??= []).push(told?.body);
  return ask(path, told);
};
"""


@pytest.mark.slow
def test_a_click_counts_at_once(browser: Chrome) -> None:
    before, button = (
        texts(browser, "#items .name"),
        browser.find_elements("css selector", "[data-did]"),
    )
    assert texts(browser, "#n-history") == ["4 events"]
    browser.execute_script(OVERHEAR)
    button[-1].click()
    wait(browser, "document.getElementById('n-history').textContent === '5 events'")
    after = texts(browser, "#items .name")
    assert after[0] == before[-1] == texts(browser, "#latest span")[0]
    assert texts(browser, ".moved")[0] == f"\N{BLACK UP-POINTING TRIANGLE} from {len(before)}"
    assert after[0] in texts(browser, "#status")[0]
    (posted,) = browser.execute_script("return sent['/events']")
    assert re.fullmatch("[0-9a-f]{32}", json.loads(posted)["answer_id"])


@pytest.mark.slow
def test_why_opens_what_made_the_score(browser: Chrome) -> None:
    first = texts(browser, "#items .name")[0]
    browser.find_element("css selector", "[data-why]").click()
    wait(browser, "document.getElementById('why').open")
    assert texts(browser, "#why-title") == [f"Why {first}?"]
    assert texts(browser, "#why-text")[0].startswith(
        ("Mostly because of ", "Several events are in favour")
    )
    assert "number 1 of all items" in texts(browser, "#why-rank")[0]
    events = texts(browser, "#why-events li")
    assert events
    assert all("without it: " in event for event in events)
    assert "Without this event it would be number " in texts(browser, "#why-without-title")[0]
    assert texts(browser, "#why-without-events li")
    if folder := os.environ.get("CHRONOTOPE_SCREENSHOTS"):
        browser.save_screenshot(f"{folder}/why.png")
    browser.find_element("css selector", "#why button").click()
    assert not browser.execute_script("return document.getElementById('why').open")
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_titles_are_text(browser: Chrome) -> None:
    assert HOSTILE in texts(browser, "#items .name")
    assert not browser.find_elements("css selector", "img")
    assert "taken" not in browser.title


@pytest.mark.slow
def test_it_draws_and_asks_nobody_else(browser: Chrome) -> None:
    drawn = browser.find_elements("css selector", "svg.draw")
    labels = [drawing.get_attribute("aria-label") for drawing in drawn]
    assert len(labels) == 4
    assert all(labels)
    asked = browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    own = browser.execute_script("return location.origin")
    assert len(asked) >= 5
    assert all(name.startswith(own) for name in asked)
    words = browser.find_element("tag name", "main").text + " ".join(texts(browser, "svg text"))
    assert "NaN" not in words
    assert "undefined" not in words
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_it_is_used_by_keyboard_and_fits_a_phone(browser: Chrome) -> None:
    browser.set_window_size(500, 900)
    user = browser.find_element("id", "user")
    user.send_keys(Keys.CONTROL + "a" + Keys.NULL + "u01" + Keys.ENTER)
    wait(browser, "document.getElementById('n-history').textContent === '2 events'")
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    user.send_keys(Keys.CONTROL + "a" + Keys.NULL + "nobody" + Keys.ENTER)
    wait(browser, "document.getElementById('n-history').textContent === 'no events'")
    assert len(texts(browser, "#items .name")) == 8
    assert texts(browser, "#short-when") == ["No forecast"]
    assert texts(browser, "#problem") == [""]


@pytest.mark.slow
def test_a_key_is_asked_for_once(
    opened: tuple[Chrome, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven, _ = opened
    register_town(tmp_path)
    monkeypatch.setenv("CITY_KEY", "s3cret")
    server = Server(tmp_path, "--api-key-env", "CITY_KEY")
    driven.get(f"http://127.0.0.1:{server.port}/#user=u00")
    asked = WebDriverWait(driven, 30).until(alert_is_present())
    asked.send_keys("s3cret")
    asked.accept()
    wait(driven, "document.querySelector('[data-did]')")
    driven.find_element("css selector", "[data-did]").click()
    wait(driven, "document.getElementById('n-history').textContent === '5 events'")
    server.kill(signal.SIGTERM)


def test_no_share_is_drawn_where_none_is_known(opened: tuple[Chrome, str], tmp_path: Path) -> None:
    driven, _ = opened
    register_town(tmp_path, indexed=True)
    server = Server(tmp_path)
    driven.get(f"http://127.0.0.1:{server.port}/#user=u00")
    wait(driven, "document.querySelector('[data-did]')")
    before = texts(driven, "#items .name")
    assert "Shop 9" in before
    assert not driven.find_elements("css selector", "#items .bar")
    driven.find_element("css selector", "#items li:last-child [data-did]").click()
    wait(driven, "document.querySelector('#items .moved')")
    assert texts(driven, "#items .name") != before
    server.kill(signal.SIGTERM)
