"""Command ``chronotope experiment``: results of arms and shadows, and off-policy estimates."""

import math
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.count_text import count_text
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    from chronotope.experiments.experiment import Experiment
    from chronotope.experiments.experiment_report import ExperimentReport
    from chronotope.serving.model.replay import RequestReplay


def experiment(
    dataset: Annotated[str, typer.Option(help="Dataset of the served experiment")],
    name: Annotated[
        str, typer.Option(help="Name of the experiment; optional if there is only one")
    ] = "",
    policy: Annotated[
        list[str] | None,
        typer.Option(
            help="Version or alias for an off-policy estimate from randomised lists; repeatable"
        ),
    ] = None,
    window: Annotated[
        float,
        typer.Option(min=0.001, help="Hours after a list in which an event counts as its hit"),
    ] = 24.0,
    min_users: Annotated[
        int, typer.Option(min=2, help="Minimum number of users for a verdict")
    ] = 100,
    clip: Annotated[
        float | None,
        typer.Option(min=1, help="Maximum importance weight; by default weights are not clipped"),
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write the tables as an HTML page to this file")
    ] = None,
    root: Annotated[Path, typer.Option(help="Project root, the parent folder of stores")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
) -> None:
    """Evaluate an experiment from the log: uplift with intervals, shadows, off-policy estimates."""
    with (
        run_command(f"Evaluating lists of {dataset}") as terminal,
        ExitStack() as exit_stack,
    ):
        from chronotope.experiments.experiment_report import OutcomeLimits, report_experiment

        log = exit_stack.enter_context(closing(_log(root, dataset)))
        outcome_limits = OutcomeLimits(window_s=window * 3600, min_users=min_users, clip=clip)
        target_policies = [
            _target(root, dataset, version_ref, exit_stack)
            for version_ref in policy or ["champion"]
        ]
        experiment_report = report_experiment(
            log, _design(root, dataset, name), target_policies, outcome_limits
        )
        if html_file is not None:
            html_console = TerminalConsole(record=True, width=140, file=StringIO())
            print_experiment(experiment_report, html_console)
            html_file.write_text(html_console.export_html(), encoding="utf-8")
    if as_json:
        print_json(_finite(asdict(experiment_report)))
    else:
        print_experiment(experiment_report, terminal)


def _log(root: Path, dataset: str) -> Any:
    from chronotope.contracts.errors import ConfigError
    from chronotope.lake import InteractionLog
    from chronotope.registry.champion import require_dataset
    from chronotope.runtime.state import state_exists
    from chronotope.runtime.workspace import Workspace

    require_dataset(root, dataset)
    log_path = Workspace(root).interactions(dataset)
    if not state_exists(log_path):
        raise ConfigError(
            f"The service of {dataset!r} has not logged any list yet",
            received=log_path,
            way_out=f"Serve the experiment first: chronotope serve {dataset} --experiment FILE",
        )
    return InteractionLog(log_path)


def _design(root: Path, dataset: str, name: str) -> "Experiment | None":
    """Configuration of the named or only experiment; None if no experiment was served.

    Raises:
        ConfigError: No experiment has this name, or there are several and no name is given.
    """
    from chronotope.contracts.errors import ConfigError
    from chronotope.experiments.experiment import experiment_names, load_experiment
    from chronotope.runtime.workspace import Workspace

    design_dir = Workspace(root).experiments(dataset)
    known_names = experiment_names(design_dir)
    if not name and len(known_names) > 1:
        raise ConfigError(
            f"The dataset has {len(known_names)} experiments",
            way_out=f"Choose one with --name: {', '.join(known_names)}",
        )
    return load_experiment(design_dir, name or known_names[0]) if name or known_names else None


def _target(
    root: Path, dataset: str, version_ref: str, exit_stack: ExitStack
) -> "Callable[[], RequestReplay]":
    """Function that loads a version; it is not called for a log without randomised lists."""

    def open_replay() -> "RequestReplay":
        from chronotope.cli.serve import dataset_defaults
        from chronotope.registry.champion import alias_version, champion_version, open_registry
        from chronotope.serving.model.replay import RequestReplay
        from chronotope.serving.settings import ServeSettings

        mlflow_store = open_registry(root, dataset)
        is_champion = version_ref == "champion"
        version = (
            champion_version(mlflow_store, dataset)
            if is_champion
            else alias_version(root, dataset, version_ref)
        )
        serve_settings = ServeSettings(dataset=dataset, root=root, **dataset_defaults(dataset))
        return exit_stack.enter_context(RequestReplay(serve_settings, version))

    return open_replay


def print_experiment(experiment_report: "ExperimentReport", terminal: TerminalConsole) -> None:
    """Print the non-empty tables and notes on their data."""
    window_hours, min_users = (
        experiment_report.limits.window_s / 3600,
        experiment_report.limits.min_users,
    )
    table_title = (
        f"Experiment {experiment_report.experiment}"
        if experiment_report.experiment
        else "No experiment"
    )
    terminal.print(f"{table_title}: hits per list within {window_hours:g} h")
    for table in (
        _arms(experiment_report),
        _shadows(experiment_report),
        _policies(experiment_report),
    ):
        if table.row_count:
            terminal.print(table)
    if len(experiment_report.arms) > 1:
        terminal.print(
            "Test of the user counts against the configured shares of the arms "
            f"(sample ratio mismatch): p = {experiment_report.mismatch:.3g}"
        )
    if experiment_report.n_misplaced:
        terminal.print(
            f"{experiment_report.n_misplaced} lists of an arm other than the user's are excluded"
        )
    if not experiment_report.policies:
        terminal.print("No list was drawn at random: off-policy estimates are not possible")
    terminal.print(f"A verdict requires at least {min_users} users.")


def _arms(experiment_report: "ExperimentReport") -> Table:
    number_columns = (Column(name, no_wrap=True) for name in ("counts", "hits per list", "uplift"))
    table_title = "Arms; the first one is the control"
    table = Table("arm", "version", *number_columns, "verdict", title=table_title, show_lines=True)
    for arm_result in experiment_report.arms:
        hits_per_list, uplift = arm_result.rate, arm_result.uplift
        fell_back = [f"{arm_result.n_fell_back:,} fell back"] if arm_result.n_fell_back else []
        count_texts = (
            count_text(arm_result.n_users, "user"),
            f"{arm_result.n_lists:,} lists",
            f"{arm_result.n_hits:,} hits",
        )
        gain_text = ""
        if uplift:
            anytime_text = f"anytime {uplift.always_low:+.4f} to {uplift.always_high:+.4f}"
            gain_lines = _two_lines(uplift.difference, uplift.low, uplift.high, "+")
            gain_text = f"{gain_lines}\n{anytime_text}\np = {uplift.p_value:.2g}"
        table.add_row(
            arm_result.name,
            "\n".join(arm_result.versions),
            "\n".join((*count_texts, *fell_back)),
            _two_lines(hits_per_list.estimate, hits_per_list.low, hits_per_list.high)
            if hits_per_list
            else "",
            gain_text,
            arm_result.verdict,
        )
    return table


def _shadows(experiment_report: "ExperimentReport") -> Table:
    column_heads = (
        "shadow",
        "version",
        "lists",
        "same items",
        "same first",
        "hits per list",
        "hits of shown",
    )
    table = Table(*column_heads, "difference", title="Shadow arms; the shown list has an advantage")
    for shadow_result in experiment_report.shadows:
        difference = shadow_result.difference
        table.add_row(
            shadow_result.name,
            "\n".join(shadow_result.versions),
            f"{shadow_result.n_lists:,}",
            f"{100 * shadow_result.overlap:.1f} %",
            f"{100 * shadow_result.same_first:.1f} %",
            f"{shadow_result.hits:.4f}",
            f"{shadow_result.hits_shown:.4f}",
            _two_lines(difference.estimate, difference.low, difference.high, "+")
            if difference
            else "not enough users",
        )
    return table


def _policies(experiment_report: "ExperimentReport") -> Table:
    number_columns = (Column(name, no_wrap=True) for name in ("drawn", "hits per list", "weights"))
    table_title = "Off-policy estimates of the hits per list of other versions"
    table = Table("version", *number_columns, "verdict", title=table_title, show_lines=True)
    for policy_result in experiment_report.policies:
        policy_estimates = policy_result.estimate
        known_text = [f"{policy_result.n_known:,} known to it"] if policy_result.n_known else []
        if policy_estimates is None:
            table.add_row(
                policy_result.version, "\n".join(known_text), "", "", policy_result.verdict
            )
            continue
        estimates_by_name = {
            "shown": policy_estimates.logged,
            "IPS": policy_estimates.ips,
            "SNIPS": policy_estimates.snips,
            "DR": policy_estimates.dr,
        }
        estimate_lines = [
            f"{estimator_name:5} {value.estimate:.4f}, {value.low:.4f} to {value.high:.4f}"
            for estimator_name, value in estimates_by_name.items()
        ]
        weight_texts = (
            f"effective n {policy_estimates.effective_n:,.0f}",
            f"mean {policy_estimates.mean_weight:.2f}",
            f"maximum {policy_estimates.max_weight:.4g}",
            f"clipped {100 * policy_estimates.clipped:.1f} %",
        )
        count_texts = (
            f"{policy_estimates.n_lists:,} lists",
            count_text(policy_estimates.n_users, "user"),
            *known_text,
        )
        table.add_row(
            policy_result.version,
            *map("\n".join, (count_texts, estimate_lines, weight_texts)),
            policy_result.verdict,
        )
    return table


def _two_lines(estimate: float, low: float, high: float, sign_flag: str = "") -> str:
    return f"{estimate:{sign_flag}.4f}\n{low:{sign_flag}.4f} to {high:{sign_flag}.4f}"


def _finite(json_value: Any) -> Any:
    """JSON value in which NaN and infinity are replaced by null."""
    if isinstance(json_value, dict):
        return {name: _finite(child_value) for name, child_value in json_value.items()}
    if isinstance(json_value, list | tuple):
        return [_finite(child_value) for child_value in json_value]
    return None if isinstance(json_value, float) and not math.isfinite(json_value) else json_value
