"""Missing categories as a flow: trained once, applied by each ingestion, seen by the features."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.lake import Lake
from chronotope.registry.mlflow_store import open_store
from chronotope.runtime.workspace import Workspace
from flows import without_heartbeat
from flows.classify_items import ClassifySettings, classify_items, label_row
from flows.ingest_events import IngestSettings, ingest_events

N_ITEMS = 200


@pytest.fixture
def shop(corner_shop: Path) -> Path:
    rng = np.random.default_rng(0)
    words = {"bakery": ["rye", "loaf", "roll"], "drinks": ["tea", "sencha", "brew"]}
    lines = ["what,title,category", "tea,green tea brew,", "rye,rye loaf,"]
    for idx in range(N_ITEMS):
        category = "bakery" if idx % 2 else "drinks"
        title = f"{rng.choice(words[category])} {rng.choice(words[category])} {idx}"
        lines.append(f"i{idx},{title},{category}")
    (corner_shop.parent / "items.csv").write_text("\n".join(lines), encoding="utf-8")
    yaml_text = corner_shop.read_text(encoding="utf-8").replace(
        "{item_id: what, title: title}", "{item_id: what, title: title, category: category}"
    )
    corner_shop.write_text(
        yaml_text + "  content:\n    classify:\n      category:\n"
        "        {columns: [title], backbone: own, min_confidence: 0.5}\n",
        encoding="utf-8",
    )
    return corner_shop


def categories(folder: Path) -> list[str]:
    return [str(name) for name in pq.read_table(folder / "categories.parquet")["id"].to_pylist()]


@pytest.mark.slow
def test_a_classifier_is_trained_once_and_fills_the_features_of_the_next_ingestion(
    prefect: None, shop: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    ingest_settings = IngestSettings(root=root, data_docs=False)
    with without_heartbeat():
        before = ingest_events(str(shop), ingest_settings)
        first = classify_items(str(shop), ClassifySettings(root=root))
        second = classify_items(str(shop), ClassifySettings(root=root))
        after = ingest_events(str(shop), ingest_settings)
    assert before.labels is not None
    assert "chronotope classify" in before.labels.columns[0].skipped
    assert categories(before.features.path) == []  # both items of the log have none
    (report,) = first.columns
    assert (report.n_given, report.n_predicted, report.n_classified) == (N_ITEMS, 2, 2)
    assert report.metrics["macro_f1"] > 0.95
    assert second.columns[0].n_classified == 0
    assert second.columns[0].run_id == ""
    assert after.labels is not None
    assert after.labels.columns[0].n_classified == 0
    assert categories(after.features.path) == ["bakery", "drinks"]
    labels = Lake(Workspace(root).lake("corner_shop")).read("item_labels").to_pylist()
    predicted = {row["item_id"]: row["label"] for row in labels if row["origin"] == "predicted"}
    assert predicted == {"tea": "drinks", "rye": "bakery"}
    run = open_store(Workspace(root).mlruns).client.get_run(report.run_id)
    assert run.data.metrics["baseline_macro_f1"] > 0.9
    assert run.data.metrics["macro_f1"] == pytest.approx(report.metrics["macro_f1"])
    assert "TF-IDF" in run.data.tags["mlflow.note.content"]
    assert label_row(report)["predicted"] == 2


@pytest.mark.slow
def test_too_few_labels_are_a_reason_and_no_error(
    prefect: None, shop: Path, tmp_path: Path
) -> None:
    (shop.parent / "items.csv").write_text("what,title,category\ntea,a,x\nrye,b,\n")
    with without_heartbeat():
        ingest_events(str(shop), IngestSettings(root=tmp_path, data_docs=False))
        summary = classify_items(str(shop), ClassifySettings(root=tmp_path))
    assert "Two values with so many items" in summary.columns[0].skipped


def test_without_labels_in_the_yaml_the_flow_says_what_to_add(
    corner_shop: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"Add items\.content\.classify"):
        classify_items.fn(str(corner_shop), ClassifySettings(root=tmp_path))
