"""Damaged Delta tables: back to the newest version that can be read."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chronotope.cli.repairs.damage import Aside, Damage
from chronotope.contracts.errors import StoreError

if TYPE_CHECKING:
    from chronotope.lake.log_repair import LogState

_AGAIN: Final = "ingest the deliveries again: events that are there are not written twice"


def table_damages(lake: Path) -> Iterator[Damage]:
    """Tables of a dataset whose log or data files are damaged.

    Args:
        lake: Folder of the dataset's lake.
    """
    from chronotope.lake.log_repair import damaged_files, examine_log, tables_of

    for table in tables_of(lake):
        name = f"table {lake.name}/{table.name}"
        state = examine_log(table)
        if not state.is_whole:
            yield Damage(name, _log_problem(state), _remedy(state), partial(_mend_log, table))
            continue
        try:
            damaged = damaged_files(table)
        except StoreError as error:  # whole as far as we can see, and still refused
            yield Damage(name, str(error), "nothing: see what is wrong", partial(_refuse, error))
            continue
        if damaged:
            files = ", ".join(path.name for path in damaged[:3])
            yield Damage(
                name,
                f"{len(damaged)} data files are missing or damaged: {files}",
                "move them aside and commit a version without them",
                partial(_mend_files, table, damaged),
            )


def _refuse(error: StoreError, _: Aside) -> str:
    raise error


def _log_problem(state: "LogState") -> str:
    files = ", ".join(path.name for path in state.damaged[:3]) or "a commit is missing"
    behind = f"; {len(state.unreachable)} later commits hang on it" if state.unreachable else ""
    return f"its log is damaged ({files}){behind}"


def _remedy(state: "LogState") -> str:
    if state.version is None:
        return "build it again from the data files that can be read"
    if state.version == state.latest:
        return f"move what is damaged aside; version {state.version} stays the latest"
    return f"return to version {state.version} of {state.latest}"


def _mend_log(table: Path, aside: Aside) -> str:
    from chronotope.lake.log_repair import count_rows, examine_log, pass_version, unnamed_files

    state = examine_log(table)
    if state.version is None:
        return _rebuild(table, state.latest, aside)
    for path in (*state.damaged, *state.unreachable):
        aside.move(path)
    version, n_rows = count_rows(table)
    done = f"version {version} remains, with {n_rows:,} rows"
    if state.latest is None or version >= state.latest:
        return done
    pass_version(table, state.latest)
    done += f", as version {state.latest + 1}"
    unnamed = unnamed_files(table)
    files = ", ".join(path.name for path in unnamed[:3])
    left = f"; {len(unnamed)} data files that it does not name stay ({files})" if unnamed else ""
    return f"{done}{left}; {_AGAIN}"


def _rebuild(table: Path, latest: int | None, aside: Aside) -> str:
    """Move the whole table aside and write its rows anew, each once."""
    from chronotope.lake import Lake
    from chronotope.lake.log_repair import REBUILDABLE, count_rows, pass_version, readable_rows

    rows = readable_rows(table) if table.name in REBUILDABLE else None
    moved = aside.move(table)
    if rows is None:
        return f"no version of it can be read; it was moved to {moved}; {_AGAIN}"
    lake = Lake(table.parent)
    writers = {
        "events": lake.merge_events,
        "items": lake.upsert_items,
        "users": lake.upsert_users,
    }
    writers[table.name](rows)
    if latest is not None:
        pass_version(table, latest)
    version, n_rows = count_rows(table)
    return (
        f"no version of it could be read; built again from its data files: version {version}, "
        f"with {n_rows:,} rows (rows that were deleted before may be among them)"
    )


def _mend_files(table: Path, damaged: tuple[Path, ...], aside: Aside) -> str:
    from chronotope.lake.log_repair import count_rows, forget_missing

    for path in damaged:
        if path.exists():
            aside.move(path)
    forget_missing(table)
    version, n_rows = count_rows(table)
    return f"version {version} has {n_rows:,} rows; {_AGAIN}"
