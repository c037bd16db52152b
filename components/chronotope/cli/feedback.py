"""``chronotope feedback``: take in what users did since, and retrain if that is worth it."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.datasets.loading import load_spec
from chronotope.feedback.config import FeedbackConfig, Mode

if TYPE_CHECKING:
    from flows.collect_feedback import FeedbackResult


def feedback(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    force: Annotated[
        bool, typer.Option(help="Retrain on whatever is new, also if little or broken")
    ] = False,
    mode: Annotated[Mode, typer.Option(help="How to retrain")] = "auto",
    min_rows: Annotated[
        int, typer.Option(min=1, help="So many new events of users with a past are enough")
    ] = FeedbackConfig().min_rows,
    root: Annotated[Path, typer.Option(help="Everything written lies below it")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show what is waiting; take nothing in")] = False,
) -> None:
    """Take in new interactions, decide, retrain, and promote what is better.

    They come from the service's log, from data/inbox/DATASET/*.jsonl, and from the table that
    the dataset names. Running it again is safe; a run that was killed goes on.
    """
    with run_command(f"Collecting the feedback of {dataset}") as console, ExitStack() as stack:
        name = load_spec(dataset).name
        if dry_run:
            waiting = _waiting(name, root)
            content: dict[str, Any] = {"dataset": name, "waiting": waiting}
        else:
            from flows.collect_feedback import collect_feedback
            from flows.ingest_events import IngestSettings
            from flows.private_server import run_by_hand

            stack.enter_context(run_by_hand(root))
            config = FeedbackConfig(force=force, mode=mode, min_rows=min_rows)
            result = collect_feedback(dataset, config, IngestSettings(root=root))
            content = result.model_dump(mode="json")
    if as_json:
        print_json(content | {"dry_run": dry_run})
    elif dry_run:
        console.print(_sentence(waiting))
    else:
        _show(console, name, result)


def _waiting(dataset: str, root: Path) -> dict[str, Any]:
    """Events behind the watermark, files that were not taken in, and those that cannot be."""
    from chronotope.feedback.inbox import Inbox
    from chronotope.feedback.intake import inbox_dir, watermark_path
    from chronotope.feedback.watermark import read_watermark
    from chronotope.runtime.workspace import Workspace
    from flows.watch_interactions import n_waiting

    workspace = Workspace(root)
    mark = read_watermark(watermark_path(workspace, dataset))
    files = Inbox(inbox_dir(workspace, dataset))
    waiting = files.waiting(mark)
    return {"events": n_waiting(dataset, root), "files": waiting, "set_aside": files.set_aside}


def _sentence(waiting: dict[str, Any]) -> str:
    files = ", ".join(waiting["files"]) or "none"
    words = f"Waiting: {waiting['events']:,} events; files of the inbox: {files}."
    return "\n".join([words, *_set_aside(waiting["set_aside"])])


def _set_aside(reasons: dict[str, str]) -> list[str]:
    """A line for each file of the inbox that is not taken in."""
    return [f"Set aside: {name}: {reason}." for name, reason in reasons.items()]


def _show(console: TerminalConsole, name: str, result: "FeedbackResult") -> None:
    intake, decision = result.intake, result.decision
    table = Table("what", "rows", title=name)
    table.columns[1].justify = "right"
    for what in ("read", "new", "duplicates", "quarantined"):
        table.add_row(what, f"{getattr(intake, f'n_{what}'):,}")
    for why, n in intake.reasons.items():
        table.add_row(f"quarantined: {why}", f"{n:,}")
    console.print(table)
    mode = f" ({decision.mode})" if decision.mode else ""
    lines = _set_aside(intake.set_aside)
    lines += [f"Decision: {decision.action}{mode}", *(f"- {why}" for why in decision.reasons)]
    promotion = result.promotion
    if promotion:
        fate = "is the champion." if promotion.promoted else "stays challenger:"
        lines += [f"Version {promotion.version} {fate}", *map("- {}".format, promotion.reasons)]
    console.print("\n".join(lines), soft_wrap=True)
