"""Command ``chronotope init``: draft the YAML of a dataset from its log file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.event_table import first_rows, plain_rows, show_events
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    import pyarrow as pa

    from chronotope.datasets.guessing import DatasetDraft

_N_PREVIEW_ROWS: Final = 10_000


def init(
    dataset: Annotated[
        str, typer.Argument(help="Name of the new dataset: a-z, 0-9 and _, such as cafe")
    ],
    file: Annotated[Path, typer.Argument(help="File of the log, or folder of its files")],
    is_confirmed: Annotated[
        bool, typer.Option("--yes", "-y", help="Write the YAML without a question")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, without a question")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Show the YAML and write nothing")] = False,
) -> None:
    """Write conf/datasets/DATASET.yaml for a log file, and show its first events.

    Format, encoding, delimiter, columns and times are guessed from the first rows. What is not
    sure is listed, and written as comments into the YAML.
    """
    with run_command(f"Looking at {file}") as terminal:
        from chronotope.datasets.guessing import draft_dataset

        yaml_path = _new_yaml_path(dataset)
        draft = draft_dataset(dataset, file)
        preview_text, first_events = _preview(draft)
    if not as_json:
        terminal.print(draft.text, soft_wrap=True)
        terminal.print(preview_text, soft_wrap=True)
        if first_events.num_rows:
            show_events(terminal, first_events)
        if not (dry_run or is_confirmed):
            typer.confirm(f"Write {yaml_path}?", default=True, abort=True)
    if not dry_run:
        _write_new(yaml_path, draft.text)
    if as_json:
        result = {
            "path": str(yaml_path),
            "dry_run": dry_run,
            "yaml": draft.text,
            "doubts": list(draft.doubts),
            "preview": preview_text,
            "first_events": plain_rows(first_events),
        }
        print_json(result)
        return
    _show_outcome(terminal, dataset, yaml_path, draft, dry_run=dry_run)


def _new_yaml_path(dataset_name: str) -> Path:
    """Path of the YAML to write.

    Raises:
        ConfigError: The name is not valid, or the dataset exists.
    """
    from chronotope.contracts.errors import ConfigError
    from chronotope.contracts.escaping import shown_text
    from chronotope.datasets.loading import CONF_DIR
    from chronotope.datasets.yaml_problems import valid_name

    if dataset_name != valid_name(dataset_name):
        raise ConfigError(
            "The name of a dataset has lower-case letters, digits and underscores, and begins "
            "with a letter",
            received=shown_text(dataset_name),
            way_out=f"Write chronotope init {valid_name(dataset_name)} FILE",
        )
    yaml_path = CONF_DIR / f"{dataset_name}.yaml"
    if yaml_path.exists():
        raise ConfigError(
            "The dataset exists already",
            received=yaml_path,
            way_out="Choose another name, or delete the file first",
        )
    return yaml_path


def _preview(draft: "DatasetDraft") -> tuple[str, "pa.Table"]:
    """Counts and first events of the first rows, read as the draft says."""
    from collections import Counter

    import pyarrow as pa
    import pyarrow.compute as pc

    from chronotope.contracts import columns as c
    from chronotope.contracts.errors import ChronotopeError
    from chronotope.datasets.files.line_accounting import SourceReport
    from chronotope.datasets.normalise import normalise
    from chronotope.datasets.readers import read_events

    try:
        raw_rows = next(
            read_events(draft.spec, batch_rows=_N_PREVIEW_ROWS, source_report=SourceReport())
        )
    except ChronotopeError as error:
        return f"The log cannot be read with this draft yet. {error}", pa.table({})
    batch = normalise(draft.spec, raw_rows)
    reason_texts = Counter(pc.list_flatten(batch.refused.column(c.REASONS)).to_pylist())
    reason_text = "".join(
        f"; {reason}: {n_rows:,}" for reason, n_rows in reason_texts.most_common()
    )
    text = (
        f"Of the first {len(raw_rows):,} rows, {len(batch.rows):,} are events and "
        f"{len(batch.refused):,} would be quarantined{reason_text}"
    )
    return text, first_rows(batch.rows)


def _write_new(yaml_path: Path, text: str) -> None:
    yaml_path.parent.mkdir(parents=True, exist_ok=True)
    with yaml_path.open("x", encoding="utf-8") as file:
        file.write(text)


def _show_outcome(
    terminal: TerminalConsole,
    dataset_name: str,
    yaml_path: Path,
    draft: "DatasetDraft",
    *,
    dry_run: bool,
) -> None:
    n_doubts = len(draft.doubts)
    advice = f"; check the {n_doubts} lines `# not sure` in it" if n_doubts else ""
    if dry_run:
        terminal.print(f"Nothing was written (dry run){advice}", soft_wrap=True)
        return
    terminal.print(f"Written: {yaml_path}{advice}", soft_wrap=True)
    terminal.print(f"All rows: chronotope ingest {dataset_name} --dry-run", soft_wrap=True)
