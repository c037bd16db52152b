"""From the id that a caller uses to the one that is stored, and whether the user has opted out."""

from dataclasses import dataclass
from typing import Self

from chronotope.lake.privacy.privacy_record import LakePrivacy, lake_keys, read_privacy
from chronotope.lake.privacy.user_lists import UserList, read_user_list
from chronotope.lake.store import Lake
from chronotope.lake.table_schemas import ERASED_USERS, OPTED_OUT_USERS
from chronotope.privacy import PrivacySettings, PseudonymKeys


@dataclass(frozen=True, slots=True)
class StoredUsers:
    """Ids of users as a lake stores them.

    Attributes:
        settings: Privacy settings of the lake.
        keys: Keys of the pseudonyms; None if ids are stored as they are.
        opted_out: Users who have opted out; None if nobody ever has.
        erased: Users who were erased; None if nobody ever was.
    """

    settings: PrivacySettings
    keys: PseudonymKeys | None = None
    opted_out: UserList | None = None
    erased: UserList | None = None

    @classmethod
    def of_lake(cls, lake: Lake, lake_privacy: LakePrivacy, dataset: str) -> Self:
        """Users of a lake whose settings are known.

        Args:
            lake: Lake of the dataset.
            lake_privacy: Its settings.
            dataset: Name of the dataset, for messages.

        Raises:
            ConfigError: The keys of the pseudonyms are missing, or others than those of the lake.
        """
        return cls(
            lake_privacy.settings,
            lake_keys(lake_privacy, dataset),
            read_user_list(lake, OPTED_OUT_USERS),
            read_user_list(lake, ERASED_USERS),
        )

    def stored_id(self, user_id: str) -> str:
        """Id of a user as it is stored: the pseudonym, if the lake has pseudonyms.

        Args:
            user_id: The caller's id, or a stored one.
        """
        return user_id if self.keys is None else self.keys.pseudonym(user_id)

    def looked_up_id(self, user_id: str) -> str:
        """Id under which a user's history is looked up; empty, that of nobody, if excluded.

        Args:
            user_id: The caller's id, or a stored one.
        """
        stored_id = self.stored_id(user_id)
        return "" if self.is_excluded(stored_id) else stored_id

    def is_opted_out(self, stored_id: str) -> bool:
        """Whether a user has opted out.

        Args:
            stored_id: Result of ``stored_id``.
        """
        return self.opted_out is not None and stored_id in self.opted_out

    def is_excluded(self, stored_id: str) -> bool:
        """Whether nothing may be stored of a user, who has opted out or was erased.

        Args:
            stored_id: Result of ``stored_id``.
        """
        is_erased = self.erased is not None and stored_id in self.erased
        return is_erased or self.is_opted_out(stored_id)


def read_stored_users(lake: Lake, dataset: str) -> StoredUsers:
    """Users of a lake.

    Args:
        lake: Lake of the dataset.
        dataset: Name of the dataset, for messages.

    Raises:
        ConfigError: The keys of the pseudonyms are missing, or others than those of the lake.
        StoreError: The lake cannot be read.
    """
    return StoredUsers.of_lake(lake, read_privacy(lake), dataset)
