"""Erasure of users from an installation: lake, logs, derived files, with a certificate.

The ids are recorded as digests first: from then on no ingestion takes their rows in again. Every
step removes what is there, so an erasure that was killed is run again as a whole.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from chronotope.audit import AuditTrail
from chronotope.contracts.errors import ConfigError
from chronotope.erasure.certificate import Certificate, StoreErasure, write_certificate
from chronotope.erasure.derived_files import (
    remove_derived_files,
    remove_files_that_name,
    remove_pending_deliveries,
    require_unnamed,
)
from chronotope.erasure.stored_rows import (
    count_logged_records,
    count_user_rows,
    erase_lake_rows,
    erase_logged_records,
    stored_user_ids,
)
from chronotope.lake import Lake
from chronotope.lake.privacy import StoredUsers, UserList, add_to_user_list, read_stored_users
from chronotope.lake.table_schemas import ERASED_USERS
from chronotope.registry.champion import has_registry, open_registry
from chronotope.runtime.dataset_lock import dataset_lock
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.workspace import Workspace


def count_lake_rows(root: Path, dataset: str, user_ids: Sequence[str]) -> dict[str, int]:
    """Number of rows of users in the latest version of each table; changes nothing.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        user_ids: Ids of the users, those of the source or pseudonyms.

    Raises:
        ConfigError: The keys of the dataset's pseudonyms are missing or wrong.
        StoreError: The lake cannot be read.
    """
    lake = Lake(Workspace(root).lake(dataset))
    stored_users = read_stored_users(lake, dataset)
    return count_user_rows(lake, _forms(stored_users, user_ids))


def users_without_rows(root: Path, dataset: str, user_ids: Sequence[str]) -> list[str]:
    """Ids of which no table has a row, such as mistyped ones.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        user_ids: Ids of the users, those of the source or pseudonyms.

    Raises:
        ConfigError: The keys of the dataset's pseudonyms are missing or wrong.
        StoreError: The lake cannot be read.
    """
    lake = Lake(Workspace(root).lake(dataset))
    stored_users = read_stored_users(lake, dataset)
    known_ids = stored_user_ids(lake, _forms(stored_users, user_ids))
    return [
        user_id
        for user_id in user_ids
        if user_id not in known_ids and stored_users.stored_id(user_id) not in known_ids
    ]


def forget_users(root: Path, dataset: str, user_ids: Sequence[str]) -> Certificate:
    """Erase users; returns the certificate, which is also written below ``data/erasures``.

    The dataset's lock is held. Sources outside of the project root are not changed: their rows
    of these users are dropped by each ingestion.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        user_ids: Ids of the users.

    Raises:
        ConfigError: No id is given, one is empty, nothing is stored of any of them, or the keys
            of the dataset's pseudonyms are missing or wrong.
        StoreError: The dataset has no lake, or a store cannot be written.
    """
    if not user_ids or not all(user_ids):
        raise ConfigError(
            "Name the users to erase", received=list(user_ids), way_out="Pass one id or more"
        )
    workspace = Workspace(root)
    lake = Lake(workspace.lake(dataset))
    started_at = datetime.now(UTC)
    with dataset_lock(workspace, dataset):
        lake.version("events")  # a dataset without a lake is refused before anything is written
        stored_users = read_stored_users(lake, dataset)
        forms = _forms(stored_users, user_ids)
        _require_known(workspace, dataset, lake, stored_users, forms)
        stored_ids = [stored_users.stored_id(user_id) for user_id in user_ids]
        erased_users = add_to_user_list(lake, ERASED_USERS, stored_ids)
        stores = _erase_stores(workspace, dataset, lake, forms, erased_users)
        models = _mark_models(root, dataset, started_at)
        n_files = require_unnamed(workspace, lake, forms)
        path = workspace.erasures(dataset) / f"{started_at:%Y%m%dT%H%M%S.%fZ}.json"
        certificate = Certificate(
            dataset=dataset,
            user_digests=tuple(erased_users.digest(user_id) for user_id in stored_ids),
            started_at=started_at,
            finished_at=datetime.now(UTC),
            stores=tuple(stores),
            models=models,
            n_files_searched=n_files,
            path=str(path.relative_to(root)),
        )
        private_folder(path.parent)
        write_certificate(root, certificate)
        AuditTrail(workspace.audit()).append(
            "forget",
            dataset,
            {
                "n_users": len(user_ids),
                "n_removed": sum(store.n_removed for store in stores),
                "certificate": certificate.path,
                "models": list(models),
            },
        )
    return certificate


def _erase_stores(
    workspace: Workspace,
    dataset: str,
    lake: Lake,
    user_ids: Sequence[str],
    erased_users: UserList,
) -> list[StoreErasure]:
    """Remove what every store holds of users; the log first, since services write to it."""
    return [
        *erase_logged_records(workspace, dataset, user_ids, erased_users),
        *erase_lake_rows(lake, user_ids),
        *remove_pending_deliveries(workspace, dataset, user_ids),
        *remove_derived_files(workspace, dataset),
        remove_files_that_name(workspace, user_ids),
    ]


def _forms(stored_users: StoredUsers, user_ids: Sequence[str]) -> list[str]:
    """Ids of users and their pseudonyms: a log may hold either."""
    stored_ids = [stored_users.stored_id(user_id) for user_id in user_ids]
    return list(dict.fromkeys([*user_ids, *stored_ids]))


def _require_known(
    workspace: Workspace,
    dataset: str,
    lake: Lake,
    stored_users: StoredUsers,
    user_ids: Sequence[str],
) -> None:
    """Refuse ids of which nothing is stored: a mistyped one must not cost all earlier versions.

    Ids whose erasure was begun before are accepted, so that it can be finished.
    """
    if stored_users.erased is not None and any(
        user_id in stored_users.erased for user_id in user_ids
    ):
        return
    n_rows = sum(count_user_rows(lake, user_ids).values())
    if not n_rows and not count_logged_records(workspace, dataset, user_ids):
        raise ConfigError(
            f"Nothing of these users is stored in {dataset}",
            received=", ".join(user_ids[:5]),
            way_out="Check the ids: they are compared letter by letter",
        )


def _mark_models(root: Path, dataset: str, erased_at: datetime) -> tuple[str, ...]:
    """Registered versions, marked as trained on data with the users; none without a registry."""
    if not has_registry(root):
        return ()
    from chronotope.registry.lineage import mark_versions

    return mark_versions(open_registry(root, dataset), dataset, erased_at)
