"""Command ``chronotope feedback``: ingest new interactions, and retrain if necessary."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.feedback.config import FeedbackConfig, Mode

if TYPE_CHECKING:
    from flows.collect_feedback import FeedbackResult


def feedback(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    force: Annotated[
        bool, typer.Option(help="Retrain even if new events are few or fail the checks")
    ] = False,
    mode: Annotated[
        Mode, typer.Option(help="Warm start, full training, or automatic choice")
    ] = "auto",
    min_rows: Annotated[
        int, typer.Option(min=1, help="New events of users with a history that suffice to retrain")
    ] = FeedbackConfig().min_rows,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Show the waiting interactions; ingest nothing")
    ] = False,
) -> None:
    """Ingest new interactions, decide whether to retrain, and promote a better model.

    Sources are the service's log, data/inbox/DATASET/*.jsonl, and the SQL table in the dataset's
    YAML. Running it again is safe; a run that was killed resumes after its last finished step.
    """
    with (
        run_command(f"Collecting the feedback of {dataset}") as terminal,
        ExitStack() as exit_stack,
    ):
        from chronotope.datasets.loading import load_spec

        dataset_name = load_spec(dataset).name
        if dry_run:
            waiting_counts = _waiting(dataset_name, root)
            json_content: dict[str, Any] = {"dataset": dataset_name, "waiting": waiting_counts}
        else:
            exit_stack.enter_context(flow_server(root, "flows.collect_feedback", validates=True))
            from flows.collect_feedback import collect_feedback
            from flows.ingest_events import IngestSettings

            feedback_config = FeedbackConfig(force=force, mode=mode, min_rows=min_rows)
            feedback_result = collect_feedback(dataset, feedback_config, IngestSettings(root=root))
            json_content = feedback_result.model_dump(mode="json")
    if as_json:
        print_json(json_content | {"dry_run": dry_run})
    elif dry_run:
        terminal.print(_waiting_text(waiting_counts))
    else:
        _show(terminal, dataset_name, feedback_result)


def _waiting(dataset: str, root: Path) -> dict[str, Any]:
    """Number of events after the watermark, waiting files of the inbox, and refused ones."""
    from chronotope.feedback.inbox import Inbox
    from chronotope.feedback.intake import inbox_dir, watermark_path
    from chronotope.feedback.watermark import read_watermark
    from chronotope.runtime.workspace import Workspace
    from flows.watch_interactions import n_waiting

    root_workspace = Workspace(root)
    watermark = read_watermark(watermark_path(root_workspace, dataset))
    inbox_files = Inbox(inbox_dir(root_workspace, dataset))
    waiting_counts = inbox_files.waiting(watermark)
    return {
        "events": n_waiting(dataset, root),
        "files": waiting_counts,
        "set_aside": inbox_files.set_aside,
    }


def _waiting_text(waiting_counts: dict[str, Any]) -> str:
    file_names = ", ".join(waiting_counts["files"]) or "none"
    waiting_text = (
        f"Waiting: {waiting_counts['events']:,} events; files of the inbox: {file_names}."
    )
    return "\n".join([waiting_text, *_set_aside(waiting_counts["set_aside"])])


def _set_aside(reasons_by_file: dict[str, str]) -> list[str]:
    """One line for each refused file of the inbox."""
    return [f"Set aside: {file_name}: {reason}." for file_name, reason in reasons_by_file.items()]


def _show(terminal: TerminalConsole, dataset_name: str, feedback_result: "FeedbackResult") -> None:
    intake_report, retrain_decision = feedback_result.intake, feedback_result.decision
    count_table = Table("outcome", "rows", title=dataset_name)
    count_table.columns[1].justify = "right"
    for count_name in ("read", "new", "duplicates", "quarantined"):
        count_table.add_row(count_name, f"{getattr(intake_report, f'n_{count_name}'):,}")
    for reason_text, n_rows in intake_report.reasons.items():
        count_table.add_row(f"quarantined: {reason_text}", f"{n_rows:,}")
    terminal.print(count_table)
    mode = f" ({retrain_decision.mode})" if retrain_decision.mode else ""
    output_lines = _set_aside(intake_report.set_aside)
    output_lines += [
        f"Decision: {retrain_decision.action}{mode}",
        *(f"- {reason_text}" for reason_text in retrain_decision.reasons),
    ]
    promotion_result = feedback_result.promotion
    if promotion_result:
        outcome_text = "is the champion." if promotion_result.promoted else "stays challenger:"
        output_lines += [
            f"Version {promotion_result.version} {outcome_text}",
            *map("- {}".format, promotion_result.reasons),
        ]
    terminal.print("\n".join(output_lines), soft_wrap=True)
