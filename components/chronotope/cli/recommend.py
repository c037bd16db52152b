"""``chronotope recommend``: what a user does next, when and where."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.escaping import visible_line

if TYPE_CHECKING:
    from chronotope.inference.request import Recommendation, TimeForecast


def recommend(
    user: Annotated[str, typer.Argument(help="Id of the user, as in the log")],
    dataset: Annotated[str, typer.Option(help="Dataset whose champion answers")],
    at: Annotated[str, typer.Option(help="ISO 8601 moment, UTC without an offset; or now")] = "now",
    lat: Annotated[float | None, typer.Option(min=-90, max=90, help="Where the user is")] = None,
    lon: Annotated[float | None, typer.Option(min=-180, max=180, help="Where the user is")] = None,
    within_km: Annotated[
        float | None, typer.Option(min=0.001, help="Only items this near; needs --lat and --lon")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Number of items")] = 10,
    context: Annotated[
        list[str] | None, typer.Option(help="COLUMN=NUMBER known of the moment; may be repeated")
    ] = None,
    root: Annotated[Path, typer.Option(help="Project root, below which stores lie")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON")] = False,
) -> None:
    """Ask the champion what a user does next, when and where; only the past is read."""
    with run_command(f"Asking the champion of {dataset}") as console:
        moment = parse_moment(at)
        from chronotope.inference.recommend import recommend as ask
        from chronotope.inference.request import RecommendOptions

        told = parse_context(context or [])
        options = RecommendOptions(k=k, lat=lat, lon=lon, within_km=within_km, context=told)
        said = ask(root, dataset, user, moment, options=options)
    if as_json:
        print_json(asdict(said) | {"request_time": said.request_time.isoformat()})
    else:
        _show(console, said)


def parse_moment(text: str) -> datetime:
    """An instant from ISO 8601 text; UTC where no offset is given, ``now`` for now.

    Raises:
        ConfigError: It cannot be read.
    """
    if text == "now":
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            "The moment cannot be read",
            received=text,
            way_out="Write it like 2013-01-10T18:00-05:00, or now",
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_context(texts: list[str]) -> dict[str, float]:
    """Numbers by column from texts such as ``rain_mm=2.5``.

    Raises:
        ConfigError: One cannot be read.
    """
    told = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            told[name] = float(number)
        except ValueError as error:
            raise ConfigError(
                "The context cannot be read", received=text, way_out="Write COLUMN=NUMBER"
            ) from error
    return told


def _show(console: TerminalConsole, said: "Recommendation") -> None:
    has_km = any(item.distance_km is not None for item in said.items)
    title = f"{visible_line(said.user_id)} at {said.request_time:%Y-%m-%d %H:%M %Z}"
    table = Table("", "what", "probability", *(["km"] if has_km else []), "why", title=title)
    for name in ("probability", "km"):
        for column in table.columns:
            if column.header == name:
                column.justify = "right"
    for rank, item in enumerate(said.items, 1):
        km = ["" if item.distance_km is None else f"{item.distance_km:.1f}"] if has_km else []
        share = "" if item.probability is None else f"{100 * item.probability:.1f} %"
        table.add_row(str(rank), visible_line(item.title or item.id), share, *km, item.reason)
    console.print(table)
    lines = [*([_when(said.request_time, said.when)] if said.when else []), *said.notes]
    if said.where:
        shares = (
            f"{visible_line(place.id)} ({100 * place.probability:.0f} %)" for place in said.where
        )
        lines.insert(0, f"Where: {', '.join(shares)}")
    for line in [*lines, f"Champion: {said.dataset} version {said.version}"]:
        console.print(visible_line(line))


def _when(at: datetime, when: "TimeForecast") -> str:
    spans = (_span(when.median_h), _span(when.low_h), _span(when.high_h))
    text = "When: in {} (80 %: {} to {})".format(*spans)
    try:
        return f"{text}, about {at + timedelta(hours=when.median_h):%Y-%m-%d %H:%M %Z}"
    except OverflowError:
        return text


def _span(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:,.1f} days"
