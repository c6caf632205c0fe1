"""Simple tokens: their form, their time, their end."""

import pytest

from rusd.auth.records import Session
from rusd.auth.tokens import SimpleTokens, fingerprint, prefix, token_index


def assign(tokens: SimpleTokens, user: str, random_part: str, index: int) -> str:
    """The token of a new session, at time 0."""
    session = Session(user, random_part, index)
    tokens.assign(session, now=0)
    return session.token


def test_a_token_names_its_user_until_its_time_is_up() -> None:
    tokens = SimpleTokens(ttl=300)
    token = assign(tokens, "a", "x" * 16, 7)
    assert token == "x" * 16 + ".7"
    assert tokens.identify(token, now=300) == "a"
    assert tokens.identify(token, now=601) is None


def test_each_use_starts_the_time_anew() -> None:
    tokens = SimpleTokens(ttl=300)
    token = assign(tokens, "a", prefix(), 7)
    assert all(tokens.identify(token, now=200.0 * use) == "a" for use in range(1, 10))


def test_tokens_that_ended_are_forgotten() -> None:
    tokens = SimpleTokens(ttl=1)
    for index in range(100):
        assign(tokens, "a", prefix(), index)
    tokens.expire(now=2)
    assert len(tokens) == 0


def test_the_tokens_of_one_user_end_alone_or_all_together() -> None:
    tokens = SimpleTokens()
    a, b = assign(tokens, "a", prefix(), 1), assign(tokens, "b", prefix(), 1)
    tokens.end(["a"])
    assert (tokens.identify(a, now=1), tokens.identify(b, now=1)) == (None, "b")
    tokens.end(None)
    assert tokens.identify(b, now=1) is None


def test_a_ttl_of_zero_is_the_default() -> None:
    tokens = SimpleTokens(ttl=0)
    assert tokens.identify(assign(tokens, "a", prefix(), 1), now=299) == "a"


@pytest.mark.parametrize(
    ("token", "index"),
    [
        ("abc.7", 7),
        ("abc.0", 0),
        ("abc", None),
        ("abc.", None),
        ("abc.x", None),
        ("abc.-1", None),
        ("abc.7.8", None),
        (f"abc.{2**64 - 1}", 2**64 - 1),
        (f"abc.{2**64}", None),
        ("abc." + "9" * 100_000, None),
        ("abc.\u0661", None),
    ],
)
def test_the_index_of_a_token_is_a_number_of_64_bits(token: str, index: int | None) -> None:
    assert token_index(token) == index


def test_a_prefix_is_sixteen_letters_and_never_the_same() -> None:
    made = {prefix() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(one) == 16 and one.isascii() and one.isalpha() for one in made)


def test_nothing_shows_a_token() -> None:
    tokens = SimpleTokens()
    token = assign(tokens, "a", "sesamesesamesesa", 1)
    assert "sesame" not in repr(vars(tokens))
    assert fingerprint(token) == fingerprint(token) != fingerprint(token + "0")
    assert len(fingerprint(token)) == 12


def test_any_text_may_be_asked_for() -> None:
    assert SimpleTokens().identify("\udcff", now=0) is None
