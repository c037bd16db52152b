"""The augmentation as a parameter of the search: only where it is asked for, none first."""

from datetime import UTC, datetime

from optuna.trial import FixedTrial

from chronotope.pipelines.report import augmentation_text
from chronotope.pipelines.search import configs_from_params, search_space, starting_point
from chronotope.pipelines.settings import TrainSettings
from chronotope.report import ReportData, render_report

SEARCHED = TrainSettings(augmentations=("mask", "generator"))


def test_by_default_nothing_is_searched() -> None:
    assert not any(name.startswith("augmentation") for name in starting_point(TrainSettings()))


def test_the_first_trial_has_none() -> None:
    start = starting_point(SEARCHED)
    assert start["augmentation_kind"] == "none"
    assert search_space(SEARCHED)(FixedTrial(start)) == start


def test_kind_and_amount_reach_the_training() -> None:
    params = starting_point(SEARCHED) | {
        "augmentation_kind": "mask",
        "augmentation_amount": 0.3,
        "augmentation_sparse_only": True,
    }
    augmentation = configs_from_params(params, SEARCHED)[1].augmentation
    assert (augmentation.kind, augmentation.amount, augmentation.sparse_only) == ("mask", 0.3, True)
    assert SEARCHED.training.augmentation.kind == "none"


def test_the_report_says_what_was_chosen_and_that_none_helped() -> None:
    assert augmentation_text(TrainSettings(), {"augmentation_kind": "mask"}) == ""
    assert "no augmentation is used" in augmentation_text(SEARCHED, starting_point(SEARCHED))
    chosen = starting_point(SEARCHED) | {"augmentation_kind": "mask"}
    assert "mask was best" in augmentation_text(SEARCHED, chosen)
    data = ReportData(
        dataset="town", data_version="1", protocol="stream", seed=0,
        generated_at=datetime(2026, 1, 1, tzinfo=UTC), augmentation="mask <was> best",
    )  # fmt: skip
    assert "mask &lt;was&gt; best" in render_report(data)
