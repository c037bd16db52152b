"""`chronotope embed`: what was encoded, and what was not and why."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.cli.embed import show_embeddings
from chronotope.cli.main import app
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.content.encoder import Modality
from chronotope.content.modality_report import EmbeddingSummary, ModalityReport
from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace

YAML = """
name: stall
description: Two things.
licence: CC0-1.0
data_dir: {folder}
events:
  format: csv
  path: log.csv
  columns: {{user_id: who, item_id: what, occurred_at: at}}
items:
  format: csv
  path: items.csv
  columns: {{item_id: what, title: title}}
  content: {{text: [title]}}
"""


def test_reasons_rates_and_what_was_left_out_are_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = ModalityReport(
        modality=Modality.TEXT,
        encoder="tfidf@0123",
        n_items=1_502,
        n_encoded=1_500,
        n_missing=2,
        reasons={"text is empty": 2},
        examples={"text is empty": ("a ", "b")},
        encode_s=3.0,
    )
    image = ModalityReport(modality=Modality.IMAGE, skipped="Run: pip install x")
    summary = EmbeddingSummary(dataset="stall", modalities=(text, image))
    show_embeddings(TerminalConsole(), summary)
    printed = capsys.readouterr().out
    assert "1,500" in printed
    assert "500 " in printed
    assert "text: 2 without a vector: text is empty, such as 'a ', 'b'" in printed
    assert "image was left out: Run: pip install x" in printed


@pytest.mark.slow
def test_a_second_call_encodes_nothing(prefect: None, tmp_path: Path) -> None:
    import pyarrow as pa

    yaml_path = tmp_path / "stall.yaml"
    yaml_path.write_text(YAML.format(folder=tmp_path), encoding="utf-8")
    items = pa.table({"item_id": ["tea", "rye"], "title": ["Green tea", "Green rye"]})
    Lake(Workspace(tmp_path).lake("stall")).upsert_items(items)
    counts = []
    for flags in (["--dry-run"], [], [], ["--dry-run"], ["--dry-run", "--refit"]):
        words = ["embed", str(yaml_path), "--root", str(tmp_path), "--json", *flags]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        (report,) = json.loads(done.stdout)["modalities"]
        counts.append((report["n_encoded"], report["n_unchanged"]))
    assert counts == [(2, 0), (2, 0), (0, 2), (0, 2), (2, 0)]
