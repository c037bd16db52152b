"""Numbers of things as texts."""


def count_text(n_things: int, noun: str) -> str:
    """A number with its noun.

    Args:
        n_things: The number.
        noun: Singular of a noun whose plural ends in ``s``.

    >>> count_text(1, "user"), count_text(1200, "user")
    ('1 user', '1,200 users')
    """
    return f"{n_things:,} {noun}" if n_things == 1 else f"{n_things:,} {noun}s"
