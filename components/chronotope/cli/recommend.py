"""Command ``chronotope recommend``: predict item, time and place of a user's next event."""

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


ContextOption = Annotated[
    list[str] | None, typer.Option(help="Context of the request as COLUMN=NUMBER; repeatable")
]
AttributeOption = Annotated[
    list[str] | None,
    typer.Option(help="Attribute of the user as COLUMN=VALUE, e.g. age=25; repeatable"),
]
LikeOption = Annotated[
    list[str] | None, typer.Option(help="Id of an item the user likes; repeatable")
]
WishOption = Annotated[str | None, typer.Option(help="What the user looks for, in words")]


def recommend(
    dataset: Annotated[str, typer.Option(help="Dataset whose champion recommends")],
    user: Annotated[
        str | None,
        typer.Argument(help="Id of the user, as in the log; after -- if it begins with a dash"),
    ] = None,
    user_option: Annotated[
        str | None, typer.Option("--user", help="Id of the user, instead of the argument")
    ] = None,
    request_time: Annotated[
        str,
        typer.Option("--at", help="Request time: ISO 8601, UTC if without an offset, or now"),
    ] = "now",
    lat: Annotated[
        float | None, typer.Option(min=-90, max=90, help="Latitude of the user, degrees")
    ] = None,
    lon: Annotated[
        float | None, typer.Option(min=-180, max=180, help="Longitude of the user, degrees")
    ] = None,
    within_km: Annotated[
        float | None,
        typer.Option(min=0.001, help="Maximum distance of items; requires --lat and --lon"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Number of items")] = 10,
    context: ContextOption = None,
    attribute: AttributeOption = None,
    like: LikeOption = None,
    wish: WishOption = None,
    root: Annotated[Path, typer.Option(help="Project root, the parent folder of stores")] = Path(),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the recommendation as JSON")
    ] = False,
) -> None:
    """Recommend items to a user and forecast time and place of the next event.

    Only events before the request time are used.
    """
    with run_command(f"Asking the champion of {dataset}") as console:
        user_id, instant = _only_user(user, user_option), parse_moment(request_time)
        _provide_keys(root, dataset)
        from chronotope.inference.recommend import recommend as recommend_items
        from chronotope.inference.request import RecommendOptions

        options = RecommendOptions(
            k=k,
            lat=lat,
            lon=lon,
            within_km=within_km,
            context=parse_context(context or []),
            attributes=parse_attributes(attribute or []),
            liked_items=tuple(like or ()),
            wish=wish,
        )
        recommendation = recommend_items(root, dataset, user_id, instant, options=options)
    if as_json:
        iso_time = recommendation.request_time.isoformat()
        print_json(asdict(recommendation) | {"request_time": iso_time})
    else:
        _show(console, recommendation)


def _provide_keys(root: Path, dataset: str) -> None:
    from flows.privacy.secret_keys import provide_lake_keys

    provide_lake_keys(root, dataset)


def _only_user(argument: str | None, option: str | None) -> str:
    """The user's id, which is either an argument or an option."""
    if (argument is None) == (option is None):
        raise ConfigError(
            "Exactly one user is required",
            received="none" if argument is None else f"{argument} and --user={option}",
            way_out="Write chronotope recommend USER --dataset DATASET; an id that begins with a "
            "dash follows -- or --user=, as in --user=-88",
        )
    return argument if argument is not None else str(option)


def parse_moment(time_text: str) -> datetime:
    """Instant from ISO 8601 text, UTC if it has no offset; ``now`` is the present time.

    Raises:
        ConfigError: The text is not an ISO 8601 time.
    """
    if time_text == "now":
        return datetime.now(UTC)
    try:
        instant = datetime.fromisoformat(time_text)
    except ValueError as error:
        raise ConfigError(
            "The request time cannot be read",
            received=time_text,
            way_out="Write it like 2013-01-10T18:00-05:00, or now",
        ) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def parse_context(assignments: list[str]) -> dict[str, float]:
    """Numbers by column from texts such as ``rain_mm=2.5``.

    Raises:
        ConfigError: A text is not of the form COLUMN=NUMBER.
    """
    context = {}
    for assignment in assignments:
        column_name, _, number_text = assignment.partition("=")
        try:
            context[column_name] = float(number_text)
        except ValueError as error:
            raise ConfigError(
                "The context cannot be read", received=assignment, way_out="Write COLUMN=NUMBER"
            ) from error
    return context


def parse_attributes(assignments: list[str]) -> dict[str, str | float]:
    """Values by column from texts such as ``age=25-34``.

    Raises:
        ConfigError: A text is not of the form COLUMN=VALUE.
    """
    attributes: dict[str, str | float] = {}
    for assignment in assignments:
        column_name, separator, value = assignment.partition("=")
        if not (column_name and separator and value):
            raise ConfigError(
                "The user attribute cannot be read",
                received=assignment,
                way_out="Write COLUMN=VALUE",
            )
        attributes[column_name] = value
    return attributes


def _show(console: TerminalConsole, recommendation: "Recommendation") -> None:
    has_km = any(item.distance_km is not None for item in recommendation.items)
    time_text = f"{recommendation.request_time:%Y-%m-%d %H:%M %Z}"
    title = f"{visible_line(recommendation.user_id)} at {time_text}"
    has_titles = any(item.title not in ("", item.id) for item in recommendation.items)
    names = ["item", "id"] if has_titles else ["item"]
    table = Table("", *names, "probability", *(["km"] if has_km else []), "reason", title=title)
    for name in ("probability", "km"):
        for column in table.columns:
            if column.header == name:
                column.justify = "right"
    for rank, item in enumerate(recommendation.items, 1):
        km = ["" if item.distance_km is None else f"{item.distance_km:.1f}"] if has_km else []
        share = "" if item.probability is None else f"{100 * item.probability:.1f} %"
        item_id = [visible_line(item.id)] if has_titles else []
        item_name = visible_line(item.title or item.id)
        table.add_row(str(rank), item_name, *item_id, share, *km, item.reason)
    console.print(table)
    lines = list(recommendation.notes)
    if recommendation.when:
        lines.insert(0, _time_text(recommendation.request_time, recommendation.when))
    if recommendation.where:
        shares = (
            f"{visible_line(place.id)} ({100 * place.probability:.0f} %)"
            for place in recommendation.where
        )
        lines.insert(0, f"Where: {', '.join(shares)}")
    champion_text = f"Champion: {recommendation.dataset} version {recommendation.version}"
    for line in [*lines, champion_text]:
        console.print(visible_line(line))


def _time_text(request_time: datetime, forecast: "TimeForecast") -> str:
    """Median and 80 % interval of the time until the next event."""
    hours = (forecast.median_h, forecast.low_h, forecast.high_h)
    text = "When: in {} (80 %: {} to {})".format(*map(_duration_text, hours))
    try:
        median_time = request_time + timedelta(hours=forecast.median_h)
    except OverflowError:
        return text
    return f"{text}, about {median_time:%Y-%m-%d %H:%M %Z}"


def _duration_text(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:,.1f} days"
