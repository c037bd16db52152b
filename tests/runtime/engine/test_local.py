"""Tasks in this process: in order, and no sooner than asked for."""

import sys
from collections.abc import Iterator

import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.runtime.engine import EngineConfig, LocalEngine, open_engine


def test_results_come_in_the_order_of_the_items() -> None:
    with open_engine(EngineConfig()) as engine:
        assert engine.in_process
        assert list(engine.map(str, range(5))) == ["0", "1", "2", "3", "4"]


def test_a_task_waits_until_its_result_is_asked_for() -> None:
    done: list[int] = []

    def items() -> Iterator[int]:
        for i in range(3):
            done.append(i)
            yield i

    results = LocalEngine().map(abs, items())
    assert done == []
    assert next(results) == 0
    assert done == [0]


def test_what_a_task_raises_is_raised() -> None:
    results = LocalEngine().map(lambda i: 1 / i, [1, 0])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("address", ["10.0.0.7:6379", "ray-head:6379", ""])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    assert EngineConfig(kind="ray", address=address).address == address


@pytest.mark.parametrize("address", ["ray-head", "http://head:6379", "head:6379/x"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        EngineConfig(kind="ray", address=address)


def test_a_kind_alone_is_a_whole_config() -> None:
    assert EngineConfig.model_validate("ray") == EngineConfig(kind="ray")
    with pytest.raises(ValueError, match="kind"):
        EngineConfig.model_validate("spark")


def test_without_ray_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match=r"chronotope\[scale\]"),
        open_engine(EngineConfig(kind="ray")),
    ):
        pass
