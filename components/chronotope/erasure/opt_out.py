"""Users who object: nothing more is stored of them, and no model learns from what is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chronotope.audit import AuditTrail
from chronotope.contracts.errors import ConfigError
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.values.users_file import read_users_file
from chronotope.lake import Lake
from chronotope.lake.privacy import (
    add_to_user_list,
    read_stored_users,
    remove_from_user_list,
)
from chronotope.lake.table_schemas import OPTED_OUT_USERS
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.runtime.dataset_lock import dataset_lock
from chronotope.runtime.workspace import Workspace


@dataclass(frozen=True, slots=True)
class OptOutResult:
    """Result of a change of the list.

    Attributes:
        n_changed: Users who were added to the list, or removed from it.
        n_listed: Users in the list afterwards.
    """

    n_changed: int
    n_listed: int


def change_opt_out(
    root: Path,
    dataset: str,
    user_ids: Sequence[str],
    *,
    opted_in: bool = False,
    dry_run: bool = False,
) -> OptOutResult:
    """Add users to the list of those who have opted out, or remove them from it.

    The next ingestion, training, scoring and poll of a service follow the list. What is stored
    already stays; ``forget_users`` removes it.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        user_ids: Ids of the users, those of the source or pseudonyms.
        opted_in: Remove the users from the list.
        dry_run: Count only; change nothing.

    Raises:
        ConfigError: No id is given, one is empty, or the keys of the pseudonyms are missing.
        StoreError: The lake cannot be read or written.
    """
    if not user_ids or not all(user_ids):
        raise ConfigError(
            "Name the users whose choice changes",
            received=list(user_ids),
            way_out="Pass one id or more",
        )
    workspace = Workspace(root)
    lake = Lake(workspace.lake(dataset))
    with dataset_lock(workspace, dataset):
        lake.version("events")  # a dataset without a lake is refused before anything is written
        stored_users = read_stored_users(lake, dataset)
        stored_ids = dict.fromkeys(stored_users.stored_id(user_id) for user_id in user_ids)
        changed_ids = [
            user_id for user_id in stored_ids if stored_users.is_opted_out(user_id) is opted_in
        ]
        n_before = 0 if stored_users.opted_out is None else len(stored_users.opted_out.digests)
        if changed_ids and not dry_run:
            change_list = remove_from_user_list if opted_in else add_to_user_list
            change_list(lake, OPTED_OUT_USERS, changed_ids)
            action = "opt in" if opted_in else "opt out"
            AuditTrail(workspace.audit()).append(action, dataset, {"n_users": len(changed_ids)})
    n_changed = len(changed_ids)
    return OptOutResult(n_changed, n_before - n_changed if opted_in else n_before + n_changed)


def read_opt_out_file(lake: Lake, dataset_spec: DatasetSpec) -> int:
    """Add the users of ``privacy.opt_out_file`` to the list; returns the number of new ones.

    Args:
        lake: Lake of the dataset.
        dataset_spec: The dataset.

    Raises:
        ConfigError: The file cannot be read.
    """
    file_name = dataset_spec.privacy.opt_out_file
    if file_name is None:
        return 0
    file_path = require_allowed_path(dataset_spec.data_dir / file_name)
    user_ids = read_users_file(file_path, may_be_empty=True).user_ids
    stored_users = read_stored_users(lake, dataset_spec.name)
    stored_ids = dict.fromkeys(map(stored_users.stored_id, user_ids))
    new_ids = [user_id for user_id in stored_ids if not stored_users.is_opted_out(user_id)]
    if new_ids:
        add_to_user_list(lake, OPTED_OUT_USERS, new_ids)
    return len(new_ids)
