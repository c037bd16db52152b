"""Pseudonyms need the key, follow its rotation, and are taken for ids once only."""

import hashlib
import hmac

import pyarrow as pa
import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.ids import event_ids, xor_with_digests
from chronotope.privacy import (
    PseudonymKeys,
    PseudonymSettings,
    is_pseudonym,
    read_keys,
    rotated_event_ids,
)
from chronotope.runtime.secrets import mask_secrets

FIRST, SECOND = "a" * 32, "b" * 32
VARIABLE = PseudonymSettings().variable


def keys(*texts: str) -> PseudonymKeys:
    return PseudonymKeys.of([text.encode() for text in texts])


def test_a_pseudonym_is_the_hmac_of_the_id() -> None:
    digest = hmac.new(FIRST.encode(), b"ann", hashlib.sha256).hexdigest()[:32]
    pseudonym = keys(FIRST).pseudonym("ann")
    assert pseudonym == f"pn-{keys(FIRST).fingerprints[0]}-{digest}"
    assert is_pseudonym(pseudonym)
    assert not is_pseudonym("ann")
    assert pseudonym != keys(SECOND).pseudonym("ann")


def test_rotation_needs_no_id() -> None:
    both, old = keys(FIRST, SECOND), keys(FIRST).pseudonym("ann")
    assert both.pseudonym(old) == both.pseudonym("ann") == both.pseudonym(both.pseudonym("ann"))
    assert both.is_current(both.pseudonym("ann"))
    assert not both.is_current(old)


def test_an_id_that_looks_like_a_pseudonym_of_another_key_is_an_id() -> None:
    foreign = keys(SECOND).pseudonym("ann")
    assert keys(FIRST).pseudonym(foreign) != foreign


def test_event_ids_follow_the_pseudonyms() -> None:
    base_ids = event_ids([pa.array(["tea", "rye", "tea"])])
    user_ids = pa.array(["ann", "bob", "bob"])
    old_ids, new_ids = (keys(*key).pseudonyms(user_ids) for key in ([FIRST], [FIRST, SECOND]))
    rotated = rotated_event_ids(xor_with_digests(base_ids, old_ids), old_ids, new_ids)
    assert rotated.equals(xor_with_digests(base_ids, new_ids))
    assert len(set(rotated.to_pylist())) == 3


def test_nulls_stay_nulls() -> None:
    assert keys(FIRST).pseudonyms(pa.chunked_array([["ann", None]]))[1].as_py() is None


def test_keys_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f" {FIRST} , {SECOND}")
    read = read_keys(PseudonymSettings(), "shop")
    assert read == keys(FIRST, SECOND)
    assert FIRST not in repr(read)
    assert FIRST not in mask_secrets(f"failed with {VARIABLE}={FIRST}")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "of shop is missing.*no environment variable CHRONOTOPE_PSEUDONYM_SECRET.*Set it"),
        ("s3cr3", "of shop is too short.*5 characters"),
        (f"{FIRST},{FIRST}", "stands twice"),
    ],
    ids=["none", "short", "twice"],
)
def test_bad_keys_are_refused(monkeypatch: pytest.MonkeyPatch, text: str, problem: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ConfigError, match=problem) as error:
        read_keys(PseudonymSettings(), "shop")
    assert text == "" or text not in str(error.value)
