"""`chronotope classify`: what was predicted, and what was not and why."""

import pytest
from typer.testing import CliRunner

from chronotope.cli.classify import show_labels
from chronotope.cli.embed import show_embeddings
from chronotope.cli.main import app
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.content.labels.label_report import ColumnLabelReport, LabelSummary
from chronotope.content.modality_report import EmbeddingSummary
from chronotope.content.summaries.summary_report import SummaryReport


def test_counts_reasons_and_what_was_left_out_are_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    category = ColumnLabelReport(
        column="category",
        min_confidence=0.8,
        n_items=1_600,
        n_given=1_000,
        n_predicted=500,
        n_missing=100,
        n_classified=600,
        reasons={"confidence below the threshold": 100},
        metrics={"macro_f1": 0.812},
    )
    unsure = ColumnLabelReport(column="brand", metrics={"macro_f1": 0.1})
    absent = ColumnLabelReport(column="aisle", skipped="there is no classifier yet")
    show_labels(
        TerminalConsole(), LabelSummary(dataset="stall", columns=(category, unsure, absent))
    )
    printed = capsys.readouterr().out
    assert "1,000" in printed
    assert "0.812" in printed
    assert "category: 100 without a label: confidence below the threshold" in printed
    assert "brand: no confidence gives the wanted precision" in printed
    assert "aisle was left out: there is no classifier yet" in printed


def test_summaries_are_printed_after_the_vectors(capsys: pytest.CaptureFixture[str]) -> None:
    report = SummaryReport(
        n_items=9, n_summarised=4, n_generated=3, n_short=5, reasons={"not in the text": 1}
    )
    show_embeddings(TerminalConsole(), EmbeddingSummary(dataset="stall", summaries=report))
    printed = capsys.readouterr().out
    assert "summaries: 4 new (3 by the endpoint), 0 unchanged, 5 texts short enough" in printed
    assert "1 not as the endpoint wrote: not in the text" in printed


def test_an_unknown_dataset_is_an_error_before_a_server_starts() -> None:
    result = CliRunner().invoke(app, ["classify", "no_such_dataset"])
    assert result.exit_code != 0
