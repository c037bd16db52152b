"""One item: what it is, its neighbours by content, its picture; by HTTP and in a real browser."""

import signal
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from chronotope.artifact.bundle import MODEL, read_vocabulary, write_bundle
from chronotope.artifact.open_bundle import open_bundle
from chronotope.content.embed_items import embed_modality
from chronotope.content.encoder import Modality
from chronotope.datasets.content_spec import ImageContent, TextContent
from chronotope.lake import Lake
from chronotope.registry.champion import Champion
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.model_versions import register_version
from chronotope.registry.promotion import promote
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api.app import create_app
from chronotope.serving.settings import Pictures, ServeSettings
from chronotope.testing.recommender_suite import N_ITEMS, sample_catalog
from tests.inference.hand_made import DAY, LAST_S, fill_lake
from tests.serving.browser import chromium, texts, wait
from tests.serving.test_process import Server
from tests.serving.town import WIDTH, write_graph

TEXTS = {
    "i00": "quiet cafe with espresso, coffee beans and cake",
    "i01": "quiet cafe with espresso, coffee beans, cake and tables",
    "i02": "quiet cafe with espresso, coffee beans and chairs",
    "i03": "swimming pool with sauna and a long slide",
    "i04": "indoor swimming pool with sauna and a slide",
    "i05": "outdoor swimming pool with sauna and a slide",
}
SUMMARY = "A quiet cafe with cake."
PICTURES = Pictures(source=ImageContent(path="{item_id}.png"), data_dir=Path("/nowhere"))


def png(colour: str, size: tuple[int, int] = (60, 90)) -> bytes:
    content = BytesIO()
    Image.new("RGB", size, colour).save(content, "PNG")
    return content.getvalue()


def write_town(root: Path) -> Path:
    """A lake whose items have texts and pictures, and a champion's bundle; returns the bundle."""
    fill_lake(root)
    lake = Lake(Workspace(root).lake("city"))
    catalog = sample_catalog()
    located = {"lat": catalog.item_lat[1:], "lon": catalog.item_lon[1:]}
    ids = catalog.items.ids.to_pylist()
    described = pa.array([TEXTS.get(item_id) for item_id in ids], pa.string())
    lake.upsert_items(pa.table({"item_id": ids, "text": described, **located}))
    embed_modality(
        Modality.TEXT,
        TextContent(columns=("text",)),
        lake,
        data_dir=root,
        cache_dir=Workspace(root).cache(),
    )
    add_labels_and_summary(lake)
    pictures = root / "pictures"
    pictures.mkdir()
    (pictures / "i00.png").write_bytes(png("saddlebrown"))
    (pictures / "i01.png").write_bytes(png("peru"))
    (pictures / "i02.png").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    bundle = root / "bundle"
    bundle.mkdir()
    write_graph(bundle / MODEL)
    about = {"name": "town", "dataset": "city", "data_version": "1", "history_len": WIDTH}
    write_bundle(bundle, catalog, trained_until_s=LAST_S - 30 * DAY, **about)
    return bundle


def add_labels_and_summary(lake: Lake) -> None:
    """Categories of two items are predicted; one more is not used; one has a summary."""
    columns = ["category", "category", "brand", "category"]
    constants = {"origin": "predicted", "model_digest": "c1a55", "input_digest": ""}
    label_rows = {
        "label_id": ["0", "1", "2", "3"],
        "item_id": ["i00", "i01", "i01", "i02"],
        "column": columns,
        "label": ["Cafe", "Cafe", "<b>Acme</b>", "Pool"],
        "confidence": pa.array([0.83, 0.9, 0.95, 0.2], pa.float32()),
        "is_used": [True, True, True, False],
    }
    label_rows |= {name: [value] * len(columns) for name, value in constants.items()}
    lake.upsert_keyed("item_labels", pa.table(label_rows))
    summary = {"item_id": "i01", "input_digest": "", "summary": SUMMARY, "writer": "tiny-model@0f"}
    lake.upsert_keyed("item_summaries", pa.Table.from_pylist([summary]))


def settings(root: Path, *, pictures: bool = True) -> ServeSettings:
    where = PICTURES.model_copy(update={"data_dir": root / "pictures"})
    return ServeSettings(dataset="city", root=root, pictures=where if pictures else None)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    write_town(root)
    return root


def client_of(root: Path, *, pictures: bool) -> TestClient:
    bundle = root / "bundle"
    champion = Champion("1", open_bundle(bundle), read_vocabulary(bundle))
    app = create_app(
        settings(root, pictures=pictures),
        load=lambda *_: champion,
        champion_version=lambda *_: "1",
    )
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def client(root: Path) -> Iterator[TestClient]:
    with client_of(root, pictures=True) as client:
        yield client


def test_an_item_says_what_it_is_and_what_is_like_it(client: TestClient) -> None:
    item = client.get("/items/i00?k=2").json()
    assert (item["id"], item["text"], item["has_picture"]) == ("i00", TEXTS["i00"], True)
    assert {other["id"] for other in item["similar"]} == {"i01", "i02"}
    assert item["similar"][0]["similarity"] >= item["similar"][1]["similarity"] > 0
    assert client.get("/items/i01?k=0").json()["n_events"] == 2
    assert client.get("/items/i10").json()["similar"] == []  # it has no text
    assert 'path="/items/{item_id:path}"' in client.get("/metrics").text


def test_a_predicted_category_is_marked_with_its_confidence(client: TestClient) -> None:
    item = client.get("/items/i01").json()
    assert (item["category"], item["category_confidence"]) == ("Cafe", 0.9)
    assert item["predicted_labels"] == [
        {"column": "brand", "label": "<b>Acme</b>", "confidence": 0.95, "classifier": "c1a55"},
        {"column": "category", "label": "Cafe", "confidence": 0.9, "classifier": "c1a55"},
    ]
    marks = {other["id"]: other["category_confidence"] for other in item["similar"]}
    assert (marks["i00"], marks["i02"]) == (0.83, None)
    unused = client.get("/items/i02").json()
    assert (unused["category"], unused["predicted_labels"]) == (None, [])


def test_recommendations_mark_predicted_categories(client: TestClient) -> None:
    reply = client.post("/recommend", json={"user_id": "u00", "k": N_ITEMS}).json()
    marks = {item["id"]: item["category_confidence"] for item in reply["items"]}
    assert {item_id: mark for item_id, mark in marks.items() if mark} == {"i00": 0.83, "i01": 0.9}


def test_a_long_text_has_its_summary(client: TestClient) -> None:
    assert client.get("/items/i01").json()["summary"] == {"text": SUMMARY, "writer": "tiny-model"}
    assert client.get("/items/i00").json()["summary"] is None


def test_pictures_are_the_files_and_nothing_else(client: TestClient, root: Path) -> None:
    reply = client.get("/pictures/i00")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
    assert reply.content == (root / "pictures" / "i00.png").read_bytes()
    assert reply.headers["x-content-type-options"] == "nosniff"
    for item_id, reason in {
        "i02": "not an image of a known format",  # an SVG may hold scripts
        "i03": "file is missing",
        "unknown": "does not know this item",
        "../bundle/model": "does not know this item",
    }.items():
        reply = client.get(f"/pictures/{item_id.replace('/', '%2F')}")
        assert reply.status_code == 404
        assert reason in reply.json()["detail"]


def test_a_dataset_without_pictures_says_so(root: Path) -> None:
    with client_of(root, pictures=False) as client:
        assert client.get("/items/i00").json()["has_picture"] is False
        assert "no pictures" in client.get("/pictures/i00").json()["detail"]
        assert client.get("/map-points").json()["has_pictures"] is False


def test_ids_of_any_form_reach_the_item(client: TestClient) -> None:
    assert client.get("/items/a%2Fb").status_code == 404
    assert client.get(f"/items/{'x' * 3000}").status_code == 422


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("browser")
    bundle, store = write_town(root), open_store(Workspace(root).mlruns)
    with store.run("city", "hand") as tracker:
        register_version(store, name="city", bundle_dir=bundle, run_id=tracker.run_id, tags={})
    promote(store, "city", "1", expected_champion=None, key="first", reason="first")
    (root / "conf" / "datasets").mkdir(parents=True)
    (root / "conf" / "datasets" / "city.yaml").write_text(
        "name: city\nevents: {format: csv, path: e.csv, columns: {user_id: u, item_id: i, "
        "occurred_at: t}}\nitems: {format: csv, path: i.csv, columns: {item_id: i, text: x}, "
        f'content: {{text: [text], image: "{{item_id}}.png"}}}}\ndata_dir: {root / "pictures"}\n'
    )
    server = Server(root, cwd=root)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.kill(signal.SIGTERM)


@pytest.mark.slow
def test_posters_and_the_item_page_in_a_browser(address: str) -> None:
    with chromium() as browser:
        browser.get(f"{address}/#user=u00")
        pictures_loaded(browser, "#items img", 2)
        reasons = texts(browser, "#items .about")
        assert any("like i" in reason for reason in reasons), reasons
        browser.find_element("css selector", '[data-item-page="i00"]').click()
        wait(browser, "document.getElementById('item').open")
        assert texts(browser, "#item-text") == [TEXTS["i00"]]
        pictures_loaded(browser, "#item-picture img", 1)
        assert {"i01", "i02"} <= set(texts(browser, "#similar button.name"))
        assert len(texts(browser, "#similar li")) < N_ITEMS
        assert "Cafe (predicted, 0.83)" in texts(browser, "#item-about")[0]
        assert any("Cafe (predicted, 0.90)" in about for about in texts(browser, "#similar .about"))


@pytest.mark.slow
def test_summary_and_predicted_labels_in_a_browser(address: str) -> None:
    with chromium() as browser:
        browser.get(f"{address}/#user=u00")
        wait(browser, "document.querySelector('[data-item-page=\"i01\"]')")
        assert any("Cafe (predicted, 0.90)" in about for about in texts(browser, "#items .about"))
        browser.find_element("css selector", '[data-item-page="i01"]').click()
        wait(browser, "document.getElementById('item').open")
        assert texts(browser, "#item-summary") == [SUMMARY]
        assert texts(browser, "#item-summary-by") == ["Summary written by tiny-model"]
        assert "brand <b>Acme</b> (predicted, 0.95)" in texts(browser, "#item-about")[0]
        assert texts(browser, "#item-text") == [""]  # folded
        browser.find_element("css selector", "#item-full-title").click()
        assert texts(browser, "#item-text") == [TEXTS["i01"]]


@pytest.mark.slow
def test_a_wish_in_words_in_a_browser(address: str) -> None:
    with chromium() as browser:
        browser.get(f"{address}/#user=somebody-new")
        first = "document.querySelector('[data-item-page]')?.dataset.itemPage"
        wait(browser, first)
        before = texts(browser, "#items button.name")
        wish = browser.find_element("css selector", "#wish")
        wish.send_keys("swimming pool with sauna", Keys.ENTER)
        wait(browser, f"['i03', 'i04', 'i05'].includes({first})")
        wish.clear()
        wish.send_keys("qqqq", Keys.ENTER)
        wait(browser, "!document.getElementById('problem').hidden")
        assert "knows no word of the wish" in texts(browser, "#problem")[0]
        wish.clear()
        wish.send_keys(Keys.ENTER)
        wait(browser, f"{first} === '{before[0]}'")
        assert texts(browser, "#items button.name") == before


def pictures_loaded(browser: Chrome, selector: str, n_least: int) -> None:
    images = f"[...document.querySelectorAll('{selector}')]"
    wait(browser, f"{images}.filter((image) => image.naturalWidth).length >= {n_least}")
