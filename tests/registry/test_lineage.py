"""What a run says of its data, and a version of itself."""

import json
from pathlib import Path

import pytest

from chronotope.registry.lineage import describe_version, log_dataset
from chronotope.registry.mlflow_store import MlflowStore


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ("events@7,items@2", "events@7,items@2"),
        ("v" * 37, "8e1f2fa52d9a8c57b36c7db5706d711425eb"),
    ],
)
def test_a_run_names_the_version_it_learned_from(
    store: MlflowStore, tmp_path: Path, version: str, shown: str
) -> None:
    with store.run("city", "model") as tracker:
        log_dataset(
            tracker,
            name="city",
            data_digest=version,
            data_source=tmp_path,
            data_profile={"n_events": 5},
        )
    (found,) = store.client.get_run(tracker.run_id).inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("city", shown)
    assert json.loads(found.dataset.source) == {"uri": tmp_path.as_uri()}
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "training"}


def test_the_card_describes_the_version(city: MlflowStore) -> None:
    describe_version(city, "city", "3", "# Card\n" + "x" * 9_000)
    words = city.client.get_model_version("city", "3").description
    assert words.startswith("# Card")
    assert len(words) == 5_000
    assert not city.client.get_model_version("city", "4").description
