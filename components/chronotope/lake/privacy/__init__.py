"""Privacy of a lake: its settings and keys, users who were erased or have opted out."""

from chronotope.lake.privacy.privacy_record import (
    LakePrivacy,
    lake_keys,
    read_privacy,
    record_privacy,
    write_privacy,
)
from chronotope.lake.privacy.stored_users import StoredUsers, read_stored_users
from chronotope.lake.privacy.user_lists import (
    UserList,
    add_to_user_list,
    read_user_list,
    remove_from_user_list,
    rotate_user_list,
)

__all__ = [
    "LakePrivacy",
    "StoredUsers",
    "UserList",
    "add_to_user_list",
    "lake_keys",
    "read_privacy",
    "read_stored_users",
    "read_user_list",
    "record_privacy",
    "remove_from_user_list",
    "rotate_user_list",
    "write_privacy",
]
