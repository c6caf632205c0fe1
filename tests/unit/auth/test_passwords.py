"""Password hashes, as Go's bcrypt makes and compares them."""

import pytest

from rusd.auth.errors import PasswordTooLong
from rusd.auth.passwords import check_password, effective_cost, hash_password


def test_a_password_is_known_again_by_its_hash() -> None:
    hashed = hash_password("secret", 4)
    assert hashed.startswith(b"$2a$04$")
    assert check_password("secret", hashed)
    assert not check_password("Secret", hashed)


def test_a_hash_that_go_made_is_understood() -> None:
    made = b"$2a$04$QTYs2LSHnQPk6KeMuT2ZJ.iNfVB8Ui7IaKLnsRUPEYDaYdhvg/aFO"
    assert not check_password("other", made)


def test_the_empty_password_is_one() -> None:
    assert check_password("", hash_password("", 4))
    assert not check_password("a", hash_password("", 4))


def test_more_than_72_bytes_cannot_be_hashed() -> None:
    hash_password("x" * 72, 4)
    with pytest.raises(PasswordTooLong):
        hash_password("é" * 37, 4)


def test_what_is_no_hash_is_never_right() -> None:
    assert not check_password("", b"")
    assert not check_password("a", b"nonsense")


@pytest.mark.parametrize(("given", "used"), [(0, 10), (3, 10), (4, 4), (31, 31), (32, 10)])
def test_a_cost_that_bcrypt_does_not_know_is_replaced_by_the_default(given: int, used: int) -> None:
    assert effective_cost(given) == used
