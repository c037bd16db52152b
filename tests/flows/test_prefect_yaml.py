"""prefect.yaml says what flows/deployments.py says."""

from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from prefect.flows import Flow, load_flow_from_entrypoint
from pydantic import TypeAdapter

from flows import prefect_yaml

ENTRIES = ("name", "description", "tags", "schedules", "triggers", "concurrency_limit", "work_pool")
AGAIN = "prefect.yaml is old: run `python -m flows.prefect_yaml`"


def by_flow(text: str) -> dict[str, dict[str, Any]]:
    return {each["entrypoint"]: each for each in yaml.safe_load(text)["deployments"]}


@pytest.fixture(scope="module")
def kept() -> dict[str, dict[str, Any]]:
    return by_flow(prefect_yaml.FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def meant() -> dict[str, dict[str, Any]]:
    return by_flow(prefect_yaml.render_prefect_yaml())


def test_the_file_names_each_deployment_with_its_schedules(kept: Any, meant: Any) -> None:
    assert set(kept) == set(meant), AGAIN
    for flow, entry in meant.items():
        for name in ENTRIES:
            assert kept[flow].get(name) == entry.get(name), f"{flow}: {name}: {AGAIN}"


def test_its_parameters_are_those_of_the_deployments(kept: Any, meant: Any) -> None:
    for entrypoint, entry in meant.items():
        flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint)
        kinds = get_type_hints(flow.fn)
        read, wanted = (
            {name: TypeAdapter(kinds[name]).validate_python(of) for name, of in told.items()}
            for told in (kept[entrypoint]["parameters"], entry["parameters"])
        )
        assert read == wanted, f"{entrypoint}: {AGAIN}"


def test_a_schedule_and_the_triggers_are_there_to_be_compared(meant: Any) -> None:
    feedback = meant["flows.collect_feedback.collect_feedback"]
    assert feedback["schedules"] == [
        {"slug": "nightly", "cron": "0 3 * * *", "timezone": "UTC", "active": True}
    ]
    assert [each["expect"] for each in feedback["triggers"]] == [
        ["interactions.logged"],
        ["drift.detected"],
    ]
    assert feedback["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_what_differs_between_installations_comes_from_the_environment(meant: Any) -> None:
    for entry in meant.values():
        assert entry["work_pool"]["name"] == "{{ $CHRONOTOPE_WORK_POOL }}"
        parameters = entry["parameters"]
        named = parameters["datasets"] if "datasets" in parameters else [parameters["dataset"]]
        assert named == ["{{ $CHRONOTOPE_DATASET }}"]
        told = [of for of in entry["parameters"].values() if isinstance(of, dict)]
        assert {of["root"] for of in told if "root" in of} == {"{{ $CHRONOTOPE_ROOT }}"}


def test_writing_it_writes_that_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_yaml, "FILE", tmp_path / "prefect.yaml")
    prefect_yaml.main()
    assert (tmp_path / "prefect.yaml").read_text(
        encoding="utf-8"
    ) == prefect_yaml.render_prefect_yaml()
