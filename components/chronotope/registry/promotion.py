"""Journalled compare-and-set promotion: exactly one champion, whatever dies when.

The journal (``journal.py``) is the truth; MLflow's aliases follow it. A promotion is

    intent -> verify -> commit -> follow

and an intent, once written, is rolled forward by whoever comes next: its owner, or
anybody who recovers after the owner was killed. No step needs to know who is alive.
"""

from collections.abc import Callable
from contextlib import suppress

from mlflow.exceptions import MlflowException

from chronotope.contracts.errors import PromotionConflict, StoreError
from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.promotion_journal import Promotion, PromotionJournal
from chronotope.registry.version_files import has_version_files

CHAMPION = "champion"
CHALLENGER = "challenger"


def promote(
    store: MlflowStore,
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
        store: The store.
        name: Registered model.
        version: Version to promote.
        expected_champion: Champion the caller compared with; None if there was none.
        key: Idempotency key: the same key and version promotes once.
        reason: Why, for the history.
        on_step: Called after each step with ``intent``, ``verify``, ``commit``, ``follow``.

    Raises:
        PromotionConflict: Somebody else promoted first, or the key was used otherwise.
        StoreError: The version does not exist or its files are missing.
    """
    recover_promotion(store, name)
    intent = _journal(store).open_intent(
        name, version, expected=expected_champion, key=key, reason=reason
    )
    on_step("intent")
    return _roll_forward(store, intent, on_step)


def rollback(
    store: MlflowStore, name: str, reason: str, *, expected_champion: str | None = None
) -> Promotion:
    """Return to the champion before the present one; can be repeated.

    Args:
        store: The store.
        name: Registered model.
        reason: Why, for the history.
        expected_champion: Champion to dethrone; by default the present one. Give it so
            that two rollbacks of the same champion go back one step, not two.

    Raises:
        PromotionConflict: The champion is not the expected one.
        StoreError: There is no earlier champion.
    """
    expected = current_champion(store, name) if expected_champion is None else expected_champion
    recover_promotion(store, name)
    intent = _journal(store).open_rollback(name, expected=expected, reason=reason)
    return _roll_forward(store, intent, lambda _: None)


def current_champion(store: MlflowStore, name: str) -> str | None:
    """Version of the champion after recovery; None if nothing was ever promoted."""
    recover_promotion(store, name)
    return _journal(store).champion(name)


def recover_promotion(store: MlflowStore, name: str) -> None:
    """Settle an unfinished promotion and let the alias follow the journal."""
    intent = _journal(store).pending(name)
    if intent is not None:
        with suppress(StoreError):  # not promotable: it is aborted and the champion stays
            _roll_forward(store, intent, lambda _: None)
    _follow(store, name)


def set_challenger(store: MlflowStore, name: str, version: str) -> None:
    """Point the alias ``challenger`` at a version."""
    store.client.set_registered_model_alias(name, CHALLENGER, version)


def promotion_history(store: MlflowStore, name: str) -> list[Promotion]:
    """Every promotion and rollback, oldest first, aborted ones included."""
    return _journal(store).entries(name)


def _journal(store: MlflowStore) -> PromotionJournal:
    return PromotionJournal(store.root / "promotions.db")


def _roll_forward(
    store: MlflowStore, intent: Promotion, on_step: Callable[[str], None]
) -> Promotion:
    if intent.state == "intent":
        problem = _problem(store, intent.name, intent.version)
        if problem:
            _journal(store).settle(intent, "aborted")
            raise StoreError(
                "The version cannot be promoted",
                received=f"{intent.name} {intent.version}: {problem}",
                way_out="Register the model again and promote the new version",
            )
        on_step("verify")
    settled = _journal(store).settle(intent, "committed")
    on_step("commit")
    if settled.state != "committed":
        raise PromotionConflict("The promotion was rolled back", received=settled.key)
    _follow(store, intent.name)
    on_step("follow")
    return settled


def _problem(store: MlflowStore, name: str, version: str) -> str:
    """What speaks against a version as champion; empty if nothing does."""
    try:
        found = store.client.get_model_version(name, version)
    except MlflowException as error:
        return str(error)
    return "" if has_version_files(str(found.source)) else f"{found.source} is missing"


def _follow(store: MlflowStore, name: str) -> None:
    """Set the alias under the journal's lock, so that no slower process undoes it."""
    with _journal(store).locked() as view:
        champion = view.champion(name)
        if champion is None:
            return
        found = store.client.get_registered_model(name).aliases
        aliases = {alias: str(version) for alias, version in found.items()}
        if aliases.get(CHAMPION) != champion:
            store.client.set_registered_model_alias(name, CHAMPION, champion)
        if aliases.get(CHALLENGER) == champion:
            store.client.delete_registered_model_alias(name, CHALLENGER)
