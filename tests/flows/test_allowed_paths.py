"""A form's user reads and writes only where the operator allows it."""

from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from prefect.flows import load_flow_from_entrypoint
from pydantic import BaseModel, ValidationError

from chronotope.contracts.errors import ConfigError
from chronotope.datasets.loading import load_spec
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.allowed_paths import ALLOWED_ROOTS
from flows.deployments import deployments
from flows.ingest_events import IngestSettings, write_events, write_tables


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ALLOWED_ROOTS, str(tmp_path))
    return tmp_path


def path_fields() -> list[tuple[str, type[BaseModel], str]]:
    """Every flow of every deployment, with each field of its parameters that is a path."""
    settings = {"training": TrainSettings(), "ingestion": IngestSettings()}
    found = []
    for each in deployments("cafe", "cafe", **settings):
        flow: Any = load_flow_from_entrypoint(each.entrypoint or "")
        hints = get_type_hints(flow.fn)
        for of in (hint for name, hint in hints.items() if name != "return"):
            if isinstance(of, type) and issubclass(of, BaseModel):
                hints_of = {n: str(field.annotation) for n, field in of.model_fields.items()}
                fields = [n for n, hint in hints_of.items() if "Path" in hint]
                found += [(flow.name, of, field) for field in fields]
    return found


def test_there_are_paths_to_refuse() -> None:
    found = {(flow, field) for flow, _, field in path_fields()}
    assert {("train-model", "root"), ("ingest-events", "conf_dir"), ("promote-model", "root"),
            ("collect-feedback", "data_dir"), ("ingest-events", "suites")} <= found  # fmt: skip


@pytest.mark.parametrize(("flow", "form", "field"), path_fields())
def test_every_path_of_every_form_is_confined(
    root: Path, flow: str, form: type[BaseModel], field: str
) -> None:
    takes_many = "tuple" in str(form.model_fields[field].annotation)
    below, beyond = str(root / "below"), str(root.parent)
    with suppress(ValidationError):  # of other fields that have to be told
        form.model_validate({field: [below] if takes_many else below})
    with pytest.raises(ConfigError, match="outside the folders"):
        form.model_validate({field: [beyond] if takes_many else beyond})


def test_a_dataset_is_read_from_no_other_folder(root: Path, corner_shop: Path) -> None:
    (outside := root.parent / "outside").mkdir(exist_ok=True)
    stray = outside / "stray.yaml"
    stray.write_text(corner_shop.read_text())
    assert load_spec(corner_shop).name == "corner_shop"
    for told in (str(stray), f"../../../{outside.name}/stray"):
        with pytest.raises(ConfigError, match=r"outside the folders|No such dataset"):
            load_spec(told)
    with pytest.raises(ConfigError, match="outside the folders"):
        write_events.fn(str(stray), IngestSettings(root=root))
    assert not (root / "data").exists()


def test_a_yaml_that_a_form_names_reaches_no_further_than_the_form(
    root: Path, corner_shop: Path
) -> None:
    (outside := root.parent / "beyond").mkdir(exist_ok=True)
    for name in ("log.csv", "items.csv"):
        (outside / name).write_bytes((root / name).read_bytes())
    text = corner_shop.read_text()
    settings = IngestSettings(root=root)
    for told in (
        text.replace(f"data_dir: {root}", f"data_dir: {outside}"),
        text.replace("path: items.csv", f"path: ../{outside.name}/items.csv"),
    ):
        assert told != text
        corner_shop.write_text(told)
        with pytest.raises(ConfigError, match="outside the folders"):
            write_tables.fn(str(corner_shop), settings)
    corner_shop.write_text(text.replace("path: log.csv", f"path: {outside}/log.csv"))
    with pytest.raises(ConfigError, match="outside the folders"):
        write_events.fn(str(corner_shop), settings)
    assert not (root / "data" / "lake").exists()
