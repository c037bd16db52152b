"""Secret sharing: any ``threshold`` of n shares give the secret, fewer say nothing about it.

Source: Shamir (1979), *How to share a secret*: values of a random polynomial of degree
threshold - 1 over a prime field, whose constant term is the secret.
"""

import secrets
from collections.abc import Mapping
from typing import Final

from chronotope.contracts.errors import DataError

PRIME: Final = 2**521 - 1
"""Order of the field, a Mersenne prime above every key of 32 bytes."""


def split_secret(secret: bytes, holders: list[int], threshold: int) -> dict[int, int]:
    """Shares of a secret.

    Args:
        secret: At most 64 bytes; its length is not part of the shares.
        holders: Numbers of those who get a share, 0 or more.
        threshold: Shares that are needed.

    Returns:
        Share of each holder, at the abscissa ``holder + 1``.

    Example:
        >>> shares = split_secret(b"key", [0, 1, 2], threshold=2)
        >>> join_shares({0: shares[0], 2: shares[2]}, 3)
        b'key'
    """
    coefficients = [int.from_bytes(secret, "big")]
    coefficients += [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    return {holder: _polynomial(coefficients, holder + 1) for holder in holders}


def join_shares(shares: Mapping[int, int], n_bytes: int) -> bytes:
    """Secret of enough shares, by Lagrange interpolation at 0.

    Args:
        shares: Share of each holder, at least as many as the threshold.
        n_bytes: Length of the secret.

    Raises:
        DataError: The shares are too few, or not of one secret.
    """
    secret = 0
    for holder, share in shares.items():
        numerator, denominator = 1, 1
        for other in shares:
            if other != holder:
                numerator = numerator * (other + 1) % PRIME
                denominator = denominator * (other - holder) % PRIME
        secret = (secret + share * numerator * pow(denominator, -1, PRIME)) % PRIME
    if secret >= 1 << (8 * n_bytes):
        raise DataError(
            "Shares do not give a key",
            received=f"{len(shares)} shares",
            way_out="Lower federation.quorum_share, or find the client that shares wrongly",
        )
    return secret.to_bytes(n_bytes, "big")


def _polynomial(coefficients: list[int], abscissa: int) -> int:
    """Value of a polynomial, constant term first, by Horner's rule."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * abscissa + coefficient) % PRIME
    return value
