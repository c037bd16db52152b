"""Scores of users with few events, from what new users choose and from who they are.

Modules, not re-exported:
    user_head: The score term and its tables.
    user_tables: Counts that fill the tables.
"""

__all__: list[str] = []
