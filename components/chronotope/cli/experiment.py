"""``chronotope experiment``: which arm does better, and what another version would be worth."""

import json
import math
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from chronotope.cli.output.console import run_command
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    from chronotope.experiments.experiment import Experiment
    from chronotope.experiments.experiment_report import ExperimentReport
    from chronotope.serving.model.replay import RequestReplay


def experiment(
    dataset: Annotated[str, typer.Option(help="Dataset whose service was asked")],
    name: Annotated[
        str, typer.Option(help="The experiment; may be left out if there is but one")
    ] = "",
    policy: Annotated[
        list[str] | None,
        typer.Option(help="Version or alias to estimate from lists drawn at random; repeatable"),
    ] = None,
    window: Annotated[
        float, typer.Option(min=0.001, help="Hours after a list in which an event may come of it")
    ] = 24.0,
    min_users: Annotated[int, typer.Option(min=2, help="With fewer there is no verdict")] = 100,
    clip: Annotated[
        float | None, typer.Option(min=1, help="Largest weight of an estimate; none is clipped")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result as JSON to this file")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write the tables as a page to this file")
    ] = None,
    root: Annotated[Path, typer.Option(help="Project root, below which stores lie")] = Path(),
) -> None:
    """Judge an experiment by the log: uplift with intervals, shadows, off-policy estimates."""
    with run_command(f"Reading what {dataset} was shown") as console, ExitStack() as stack:
        from chronotope.experiments.experiment_report import OutcomeLimits, report_experiment

        log = stack.enter_context(closing(_log(root, dataset)))
        limits = OutcomeLimits(window_s=window * 3600, min_users=min_users, clip=clip)
        targets = [_target(root, dataset, ref, stack) for ref in policy or ["champion"]]
        report = report_experiment(log, _design(root, dataset, name), targets, limits)
        if json_file is not None:
            json_file.write_text(json.dumps(_plain(asdict(report)), indent=2), encoding="utf-8")
        if html_file is not None:
            page = TerminalConsole(record=True, width=140, file=StringIO())
            print_experiment(report, page)
            html_file.write_text(page.export_html(), encoding="utf-8")
    print_experiment(report, console)


def _log(root: Path, dataset: str) -> Any:
    from chronotope.contracts.errors import ConfigError
    from chronotope.lake import InteractionLog
    from chronotope.registry.champion import require_dataset
    from chronotope.runtime.workspace import Workspace

    require_dataset(root, dataset)
    path = Workspace(root).interactions(dataset)
    if not path.is_file():
        raise ConfigError(
            "Nothing was shown yet",
            received=path,
            way_out=f"Serve first: chronotope serve {dataset} --experiment FILE",
        )
    return InteractionLog(path)


def _design(root: Path, dataset: str, name: str) -> "Experiment | None":
    """The experiment that is meant; None if none was ever served.

    Raises:
        ConfigError: There is none of this name, or several and no name.
    """
    from chronotope.contracts.errors import ConfigError
    from chronotope.experiments.experiment import load_experiment
    from chronotope.runtime.workspace import Workspace

    folder = Workspace(root).experiments(dataset)
    known = sorted(path.stem for path in folder.glob("*.json"))
    if not name and len(known) > 1:
        raise ConfigError("Which experiment?", way_out=f"Give --name, one of: {', '.join(known)}")
    return load_experiment(folder, name or known[0]) if name or known else None


def _target(root: Path, dataset: str, ref: str, stack: ExitStack) -> "Callable[[], RequestReplay]":
    """Opens a version when it is needed: a log without random lists needs none."""

    def opened() -> "RequestReplay":
        from chronotope.cli.serve import ingestion_defaults
        from chronotope.registry.champion import alias_version, champion_version, open_registry
        from chronotope.serving.model.replay import RequestReplay
        from chronotope.serving.settings import ServeSettings

        store = open_registry(root, dataset)
        champion = ref == "champion"
        version = (
            champion_version(store, dataset) if champion else alias_version(root, dataset, ref)
        )
        settings = ServeSettings(dataset=dataset, root=root, **ingestion_defaults(dataset))
        return stack.enter_context(RequestReplay(settings, version))

    return opened


def print_experiment(report: "ExperimentReport", console: TerminalConsole) -> None:
    """Print the tables that have rows, and what they rest on."""
    hours, users = report.limits.window_s / 3600, report.limits.min_users
    title = f"Experiment {report.experiment}" if report.experiment else "No experiment"
    console.print(f"{title}: items users went for within {hours:g} h, a list")
    for table in (_arms(report), _shadows(report), _policies(report)):
        if table.row_count:
            console.print(table)
    if len(report.arms) > 1:
        console.print(f"Users came by the arms' shares: p = {report.mismatch:.3g}")
    if report.n_misplaced:
        console.print(f"{report.n_misplaced} lists of a foreign arm were left out")
    if not report.policies:
        console.print("No list was drawn at random: no version can be estimated")
    console.print(f"With fewer than {users} users there is no verdict.")


def _arms(report: "ExperimentReport") -> Table:
    numbers = (Column(name, no_wrap=True) for name in ("counted", "hits a list", "uplift"))
    title = "Arms, the first one is the control"
    table = Table("arm", "version", *numbers, "verdict", title=title, show_lines=True)
    for arm in report.arms:
        rate, up = arm.rate, arm.uplift
        fell_back = [f"{arm.n_fell_back:,} fell back"] if arm.n_fell_back else []
        counts = (f"{arm.n_users:,} users", f"{arm.n_lists:,} lists", f"{arm.n_hits:,} hits")
        gain = ""
        if up:
            always = f"always {up.always_low:+.4f} to {up.always_high:+.4f}"
            gain = (
                f"{_two_lines(up.difference, up.low, up.high, '+')}\n{always}\np = {up.p_value:.2g}"
            )
        table.add_row(
            arm.name,
            "\n".join(arm.versions),
            "\n".join((*counts, *fell_back)),
            _two_lines(rate.estimate, rate.low, rate.high) if rate else "",
            gain,
            arm.verdict,
        )
    return table


def _shadows(report: "ExperimentReport") -> Table:
    heads = (
        "shadow",
        "version",
        "lists",
        "same items",
        "same first",
        "hits a list",
        "shown instead",
    )
    table = Table(*heads, "difference", title="Shadows; what was shown had the better chance")
    for one in report.shadows:
        gap = one.difference
        table.add_row(
            one.name,
            "\n".join(one.versions),
            f"{one.n_lists:,}",
            f"{one.overlap:.1%}",
            f"{one.same_first:.1%}",
            f"{one.hits:.4f}",
            f"{one.hits_shown:.4f}",
            _two_lines(gap.estimate, gap.low, gap.high, "+") if gap else "not enough",
        )
    return table


def _policies(report: "ExperimentReport") -> Table:
    numbers = (Column(name, no_wrap=True) for name in ("drawn", "hits a list", "weights"))
    title = "Off-policy: what a version's best lists would have been worth"
    table = Table("version", *numbers, "verdict", title=title, show_lines=True)
    for one in report.policies:
        found = one.estimate
        known = [f"{one.n_known:,} known to it"] if one.n_known else []
        if found is None:
            table.add_row(one.version, "\n".join(known), "", "", one.verdict)
            continue
        values = {"shown": found.logged, "IPS": found.ips, "SNIPS": found.snips, "DR": found.dr}
        told = [f"{n:5} {v.estimate:.4f}, {v.low:.4f} to {v.high:.4f}" for n, v in values.items()]
        weights = (
            f"effective n {found.effective_n:,.0f}",
            f"mean {found.mean_weight:.2f}",
            f"most {found.max_weight:.4g}",
            f"clipped {found.clipped:.1%}",
        )
        counts = (f"{found.n_lists:,} lists", f"{found.n_users:,} users", *known)
        table.add_row(one.version, *map("\n".join, (counts, told, weights)), one.verdict)
    return table


def _two_lines(estimate: float, low: float, high: float, sign: str = "") -> str:
    return f"{estimate:{sign}.4f}\n{low:{sign}.4f} to {high:{sign}.4f}"


def _plain(told: Any) -> Any:
    """As JSON has it: NaN and infinity are null."""
    if isinstance(told, dict):
        return {name: _plain(of) for name, of in told.items()}
    if isinstance(told, list | tuple):
        return [_plain(of) for of in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told
