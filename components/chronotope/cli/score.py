"""Command ``chronotope score``: batch predictions for all or some users."""

from contextlib import ExitStack
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import ValidationError

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import ProgressBar, print_json, run_with_progress
from chronotope.cli.output.count_text import count_text
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.cli.recommend import parse_moment
from chronotope.contracts.errors import ConfigError

if TYPE_CHECKING:
    from chronotope.scoring.config import ScoringConfig, ScoringProgress, ScoringResult

_EngineOption = Annotated[
    Literal["local", "processes", "ray"],
    typer.Option(help="Where users are scored: see docs/ray.md"),
]


def score(
    dataset: Annotated[str, typer.Argument(help="Dataset whose champion predicts")],
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=1000, help="Items of each user")] = 20,
    users: Annotated[
        Path | None, typer.Option(help="Text file with one user id a line; default: all users")
    ] = None,
    skip_unknown: Annotated[
        bool, typer.Option(help="Leave out ids of the file that the log does not contain")
    ] = False,
    new_only: Annotated[
        bool, typer.Option(help="Only items that the user has not had yet")
    ] = False,
    tail_exposure: Annotated[
        float,
        typer.Option(min=0, max=10, help="Bonus of rarer items for users who choose them; 0: none"),
    ] = 0.0,
    rescore_all: Annotated[
        bool, typer.Option("--all", help="Score users without news since the last time, too")
    ] = False,
    moment: Annotated[
        str,
        typer.Option("--at", help="Moment of scoring: ISO 8601, UTC if without an offset, or now"),
    ] = "now",
    out: Annotated[
        str | None,
        typer.Option(help="Copy of the table: a .parquet or .csv path, or a SQLAlchemy URL"),
    ] = None,
    sql_table: Annotated[str, typer.Option(help="Table in that database")] = "predictions",
    engine: _EngineOption = "local",
    root: Annotated[Path, typer.Option(help="Project root of all files")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Count the users to score; write nothing")] = False,
) -> None:
    """Predict items, time and places for all users, into a table of the lake.

    Only users with news since the last scoring with the same model are scored. Running it again
    is safe; a run that was killed continues after its last stored block of users.
    """
    option_values: dict[str, Any] = {
        "root": root,
        "k": k,
        "users_file": users,
        "skip_unknown": skip_unknown,
        "new_only": new_only,
        "tail_exposure": tail_exposure,
        "rescore_all": rescore_all,
        "scored_at": None if moment == "now" else parse_moment(moment).replace(microsecond=0),
        "out": out,
        "sql_table": sql_table,
        "engine": engine,
    }
    with run_with_progress(f"Scoring the users of {dataset}") as (terminal, bar):
        scoring_config = _config(option_values)
        scoring_result = (
            _plan(dataset, scoring_config) if dry_run else _run(dataset, scoring_config, bar)
        )
    if as_json:
        print_json(scoring_result.model_dump(mode="json") | {"dry_run": dry_run})
    else:
        _show(terminal, scoring_result, dry_run=dry_run)


def _config(option_values: dict[str, Any]) -> "ScoringConfig":
    from chronotope.datasets.yaml_problems import explain_problems
    from chronotope.scoring.config import ScoringConfig

    try:
        return ScoringConfig.model_validate(option_values)
    except ValidationError as error:
        raise ConfigError(
            f"An option of the scoring is invalid: {explain_problems(error, ScoringConfig)}",
            way_out="See `chronotope score --help`",
        ) from error


def _plan(dataset: str, scoring_config: "ScoringConfig") -> "ScoringResult":
    from chronotope.scoring.score_users import plan_scoring
    from flows.privacy.secret_keys import provide_lake_keys

    provide_lake_keys(scoring_config.root, dataset)
    return plan_scoring(dataset, scoring_config)


def _run(dataset: str, scoring_config: "ScoringConfig", bar: ProgressBar) -> "ScoringResult":
    from chronotope.registry.champion import require_dataset

    require_dataset(scoring_config.root, dataset)  # before a server starts
    with ExitStack() as exit_stack:
        exit_stack.enter_context(
            flow_server(scoring_config.root, "flows.score_users", validates=True)
        )
        from flows.score_users import progress_shown_to, score_users

        def show(progress: "ScoringProgress") -> None:
            rate_text = f"{progress.users_per_s:,.0f} users/s" if progress.users_per_s else ""
            bar.show(progress.n_done, progress.n_users, rate_text)

        exit_stack.enter_context(progress_shown_to(show))
        return score_users(dataset, scoring_config)


def _show(terminal: TerminalConsole, scoring_result: "ScoringResult", *, dry_run: bool) -> None:
    verb = "would be scored" if dry_run else "scored"
    moment = scoring_result.scored_at.astimezone(UTC)
    lines = [
        f"{count_text(scoring_result.n_scored, 'user')} {verb} by version "
        f"{scoring_result.model_version} "
        f"as of {moment:%Y-%m-%d %H:%M:%S} UTC"
    ]
    counts = (
        (scoring_result.n_resumed, "of them by an earlier run that was killed"),
        (scoring_result.n_unchanged, "users without news: rows unchanged"),
        (scoring_result.n_removed, "users are not in the log any more: rows removed"),
        (scoring_result.n_unknown, "ids of the users file are not in the log: left out"),
    )
    lines += [f"{count:,} {text}" for count, text in counts if count]
    if scoring_result.users_per_s:
        lines.append(f"{scoring_result.users_per_s:,.1f} users a second")
    if scoring_result.table_version is not None:
        lines.append(f"Table   predictions, version {scoring_result.table_version}")
    if scoring_result.out is not None:
        lines.append(f"Copy    {scoring_result.out}: {scoring_result.n_exported:,} rows")
    terminal.print("\n".join(lines), soft_wrap=True)
