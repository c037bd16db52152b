"""Command ``chronotope explain``: why the champion ranks an item for a user as it does."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.cli.recommend import parse_moment
from chronotope.contracts.escaping import visible_line

if TYPE_CHECKING:
    from chronotope.explanations.explain_user import UserExplanation

_N_TERMS = 12
"""Terms that the table shows; JSON has all."""


def explain(
    dataset: Annotated[str, typer.Argument(help="Dataset whose champion is explained")],
    user: Annotated[str, typer.Option(help="Id of the user, as in the log")],
    item: Annotated[
        str | None, typer.Option(help="Id of the item; by default the most probable one")
    ] = None,
    request_time: Annotated[
        str,
        typer.Option("--at", help="Request time: ISO 8601, UTC if without an offset, or now"),
    ] = "now",
    k: Annotated[
        int,
        typer.Option("-k", min=1, max=1000, help="List that the counterfactual takes it out of"),
    ] = 10,
    root: Annotated[Path, typer.Option(help="Project root, the parent folder of stores")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
) -> None:
    """Show why an item is recommended to a user: events, a counterfactual, and the score's terms.

    Every rank is the answer of the champion to the history without the events that are named.
    """
    with run_command(f"Explaining the champion of {dataset}") as console:
        moment = parse_moment(request_time)
        from chronotope.explanations.explain_user import explain_user
        from flows.privacy.secret_keys import provide_lake_keys

        provide_lake_keys(root, dataset)
        explanation = explain_user(root, dataset, user, moment, item_id=item, list_len=k)
    if as_json:
        print_json(_json_content(explanation))
    else:
        _show(console, explanation)


def _json_content(explanation: "UserExplanation") -> dict[str, object]:
    content = asdict(explanation) | {"request_time": explanation.request_time.isoformat()}
    for name in ("events", "removed"):
        content[name] = [
            {**event, "occurred_at": event["occurred_at"].isoformat()} for event in content[name]
        ]
    return content


def _show(console: TerminalConsole, explanation: "UserExplanation") -> None:
    name = visible_line(explanation.title or explanation.item_id)
    console.print(
        f"{name}: number {explanation.rank:,} of all items, {_percent(explanation.probability)} "
        f"(version {explanation.version})"
    )
    console.print(visible_line(explanation.why))
    if explanation.events:
        events = Table("event", "time", "rank without", "probability without")
        for event in explanation.events:
            events.add_row(
                visible_line(event.title or event.item_id),
                f"{event.occurred_at:%Y-%m-%d %H:%M %Z}",
                f"{event.rank_without:,}",
                _percent(event.probability_without),
            )
        console.print(events)
    if explanation.terms:
        terms = Table("term of the network's score", "value")
        for term in explanation.terms[:_N_TERMS]:
            terms.add_row(term.name, f"{term.value:+.3f}")
        other_terms = explanation.terms[_N_TERMS:]
        if other_terms:
            rest = sum(term.value for term in other_terms)
            terms.add_row(f"{len(other_terms)} others", f"{rest:+.3f}")
        console.print(terms)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
