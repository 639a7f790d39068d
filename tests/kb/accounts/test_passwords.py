"""The rules for passwords, and how they are kept."""

from __future__ import annotations

import pytest

from kb.accounts import LONGEST_PASSWORD, SHORTEST_PASSWORD, Passwords
from kb.errors import KbError, PasswordTooLong, PasswordTooShort


@pytest.mark.parametrize("password", ["a" * SHORTEST_PASSWORD, "口令" * 6, " " * 12, "x" * LONGEST_PASSWORD])
def test_only_the_length_counts(passwords: Passwords, password: str) -> None:
    passwords.check(password)
    assert passwords.verify(password, passwords.hash(password))[0]


@pytest.mark.parametrize(
    ("password", "error"),
    [
        ("", PasswordTooShort),
        ("a" * (SHORTEST_PASSWORD - 1), PasswordTooShort),
        ("a" * (LONGEST_PASSWORD + 1), PasswordTooLong),
    ],
    ids=["empty", "short", "long"],
)
def test_length_is_bounded(passwords: Passwords, password: str, error: type[KbError]) -> None:
    with pytest.raises(error):
        passwords.check(password)


def test_hash_is_argon2_and_differs_each_time() -> None:
    first, second = Passwords().hash("correct horse"), Passwords().hash("correct horse")
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert first != second


def test_signs_that_input_methods_write_in_two_ways_are_one(passwords: Passwords) -> None:
    assert passwords.verify("pässwörd ＡＢＣ", passwords.hash("pa\u0308sswo\u0308rd ABC"))[0]


@pytest.mark.parametrize("hashed", ["", None])
@pytest.mark.parametrize("password", ["", "wrong", "\ud800", "x" * 100_000], ids=["empty", "wrong", "lone", "long"])
def test_wrong_password_is_refused(passwords: Passwords, password: str, hashed: str | None) -> None:
    """Also where there is no account, and so no hash."""
    assert not passwords.verify(password, passwords.hash("right") if hashed is None else hashed)[0]


def test_weaker_hash_is_renewed(passwords: Passwords) -> None:
    weak, today = passwords.hash("correct horse"), Passwords()
    is_right, renewed = today.verify("correct horse", weak)
    assert is_right
    assert today.verify("correct horse", renewed) == (True, "")
