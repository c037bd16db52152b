"""Crash-safe promotion: journalled compare-and-set of the one champion of a dataset.

The journal (``promotion_journal.py``) is the source of truth; MLflow's aliases follow it.
The steps of a promotion are

    intent -> verify -> record in the audit trail -> commit -> follow

A written intent is rolled forward by its owner, or by the next process that opens the journal
if the owner was killed. Every step is idempotent, so it does not matter which process does it.
"""

from collections.abc import Callable
from contextlib import suppress

from mlflow.exceptions import MlflowException

from chronotope.audit import AuditTrail
from chronotope.contracts.errors import PromotionConflict, StoreError
from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.promotion_journal import (
    CHALLENGER,
    CHAMPION,
    Promotion,
    PromotionJournal,
)
from chronotope.registry.version_files import has_version_files
from chronotope.runtime.workspace import audit_folder


def promote(
    mlflow_store: MlflowStore,
    name: str,
    version: str,
    *,
    expected_champion: str | None,
    key: str,
    reason: str,
    on_step: Callable[[str], None] = lambda _: None,
) -> Promotion:
    """Make a version the champion if the champion is still the expected one.

    Args:
        mlflow_store: The store.
        name: Registered model.
        version: Version to promote.
        expected_champion: Champion that the caller compared with; None if there was none.
        key: Idempotency key; a second call with the same key and version has no effect.
        reason: Reason of the promotion, stored in the history.
        on_step: Called after each step with ``intent``, ``verify``, ``commit``, ``follow``.

    Raises:
        PromotionConflict: Another promotion came first, or the key was used for another version.
        StoreError: The version does not exist or its files are missing.
    """
    recover_promotion(mlflow_store, name)
    promotion_intent = _journal(mlflow_store).open_intent(
        name, version, expected=expected_champion, key=key, reason=reason
    )
    on_step("intent")
    return _roll_forward(mlflow_store, promotion_intent, on_step)


def rollback(
    mlflow_store: MlflowStore, name: str, reason: str, *, expected_champion: str | None = None
) -> Promotion:
    """Make the previous champion the champion again; can be repeated.

    Args:
        mlflow_store: The store.
        name: Registered model.
        reason: Reason of the rollback, stored in the history.
        expected_champion: Champion to replace; by default the present one. With it, two
            concurrent rollbacks of the same champion go back one step, not two.

    Raises:
        PromotionConflict: The champion is not the expected one.
        StoreError: There is no earlier champion.
    """
    expected_version = (
        current_champion(mlflow_store, name) if expected_champion is None else expected_champion
    )
    recover_promotion(mlflow_store, name)
    promotion_intent = _journal(mlflow_store).open_rollback(
        name, expected=expected_version, reason=reason
    )
    return _roll_forward(mlflow_store, promotion_intent, lambda _: None)


def current_champion(mlflow_store: MlflowStore, name: str) -> str | None:
    """Version of the champion after recovery; None if nothing was ever promoted."""
    recover_promotion(mlflow_store, name)
    return _journal(mlflow_store).champion(name)


def recover_promotion(mlflow_store: MlflowStore, name: str) -> None:
    """Finish or abort an unfinished promotion and set the aliases as in the journal."""
    promotion_intent = _journal(mlflow_store).pending(name)
    if promotion_intent is not None:
        with suppress(StoreError):  # the version cannot be promoted; the intent was aborted
            _roll_forward(mlflow_store, promotion_intent, lambda _: None)
    _follow(mlflow_store, name)


def set_challenger(mlflow_store: MlflowStore, name: str, version: str) -> None:
    """Point the alias ``challenger`` at a version."""
    mlflow_store.client.set_registered_model_alias(name, CHALLENGER, version)


def promotion_history(mlflow_store: MlflowStore, name: str) -> list[Promotion]:
    """All promotions and rollbacks, oldest first, including aborted ones."""
    return _journal(mlflow_store).entries(name)


def _journal(mlflow_store: MlflowStore) -> PromotionJournal:
    return PromotionJournal(mlflow_store.root / "promotions.db")


def _roll_forward(
    mlflow_store: MlflowStore, promotion_intent: Promotion, on_step: Callable[[str], None]
) -> Promotion:
    if promotion_intent.state == "intent":
        version_problem = _problem(mlflow_store, promotion_intent.name, promotion_intent.version)
        if version_problem:
            _journal(mlflow_store).settle(promotion_intent, "aborted")
            raise StoreError(
                "The version cannot be promoted",
                received=f"{promotion_intent.name} {promotion_intent.version}: {version_problem}",
                way_out="Register the model again and promote the new version",
            )
        on_step("verify")
        _record(mlflow_store, promotion_intent)
    settled_entry = _journal(mlflow_store).settle(promotion_intent, "committed")
    on_step("commit")
    if settled_entry.state != "committed":
        raise PromotionConflict("The promotion was rolled back", received=settled_entry.key)
    _follow(mlflow_store, promotion_intent.name)
    on_step("follow")
    return settled_entry


def _record(mlflow_store: MlflowStore, promotion_intent: Promotion) -> None:
    """Write an intent that will be committed into the audit trail, once whoever does it."""
    AuditTrail(audit_folder(mlflow_store.root)).append(
        promotion_intent.kind,
        promotion_intent.name,
        {
            "version": promotion_intent.version,
            "previous": promotion_intent.previous,
            "reason": promotion_intent.reason,
        },
        once_key=f"promotion {promotion_intent.id} {promotion_intent.opened_at.isoformat()}",
    )


def _problem(mlflow_store: MlflowStore, name: str, version: str) -> str:
    """Reason why a version cannot be the champion; "" if there is none."""
    try:
        version_uri = str(mlflow_store.client.get_model_version(name, version).source)
    except MlflowException as error:
        return str(error)
    return "" if has_version_files(version_uri) else f"{version_uri} is missing"


def _follow(mlflow_store: MlflowStore, name: str) -> None:
    """Set MLflow's aliases under the journal's lock, so that no slower process reverts them."""
    with _journal(mlflow_store).locked() as journal_reader:
        champion = journal_reader.champion(name)
        if champion is None:
            return
        alias_versions = mlflow_store.client.get_registered_model(name).aliases
        current_aliases = {alias: str(version) for alias, version in alias_versions.items()}
        if current_aliases.get(CHAMPION) != champion:
            mlflow_store.client.set_registered_model_alias(name, CHAMPION, champion)
        if current_aliases.get(CHALLENGER) == champion:
            mlflow_store.client.delete_registered_model_alias(name, CHALLENGER)
