"""The worth of columns is stored beside the steps of a run, and is none of them."""

from pathlib import Path

from chronotope.content.column_worth import ColumnWorth, read_worth, save_worth
from chronotope.pipelines.train import ITEM_CONTEXT_FILE
from chronotope.runtime.step_cache import run_step, step_costs

WORTH = (ColumnWorth("display", *(n / 10 for n in range(12))),)


def test_the_worth_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / ITEM_CONTEXT_FILE
    assert read_worth(path) == ()
    save_worth(WORTH, path)
    assert read_worth(path) == WORTH


def test_the_costs_of_a_run_with_item_context_are_read(tmp_path: Path) -> None:
    run_step(tmp_path, "train_final_model", int, lambda: 1)
    save_worth(WORTH, tmp_path / ITEM_CONTEXT_FILE)
    assert list(step_costs(tmp_path)) == ["train_final_model"]
