"""Erasure of users: from every store of an installation, with a certificate of what was done."""

from chronotope.erasure.certificate import Certificate, StoreErasure, read_certificates
from chronotope.erasure.forget_users import count_lake_rows, forget_users, users_without_rows

__all__ = [
    "Certificate",
    "StoreErasure",
    "count_lake_rows",
    "forget_users",
    "read_certificates",
    "users_without_rows",
]
