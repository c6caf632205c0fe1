"""Users, roles and permission checks: etcd's rules, one test each."""

from collections.abc import Callable

import pytest

from rusd.auth import errors
from rusd.auth.records import ANONYMOUS, Access, Identity, Permission, Role, User
from rusd.auth.store import AuthStore
from tests.unit.auth.recording import Recorded, enabled_store

A = User("a", b"hash")


def who(store: AuthStore, name: str) -> Identity:
    return Identity(name, store.revision)


def granted(*permissions: Permission) -> tuple[AuthStore, Recorded]:
    """User `a` with one role that has these permissions."""
    store, records = enabled_store(A)
    store.add_role(records, "r")
    store.grant_role(records, "a", "r")
    for permission in permissions:
        store.grant_permission(records, "r", permission)
    return store, records


def test_the_auth_revision_begins_at_1_and_counts_changes() -> None:
    store, records = AuthStore(), Recorded()
    assert store.revision == 1
    store.add_user(records, User("root"))
    store.add_role(records, "r")
    store.grant_role(records, "root", "root")
    assert store.revision == records.revision == 4


def test_enabling_does_not_count_and_disabling_does() -> None:
    store, records = enabled_store()
    before = store.revision
    store.disable(records)
    assert (store.revision, records.enabled) == (before + 1, False)
    store.enable(records)
    assert (store.revision, records.enabled) == (before + 1, True)


def test_enabling_twice_and_disabling_twice_change_nothing() -> None:
    store, records = enabled_store()
    store.enable(records)
    store.disable(records)
    before = store.revision
    store.disable(records)
    assert store.revision == before


def test_enabling_needs_the_user_root_with_the_role_root() -> None:
    store, records = AuthStore(), Recorded()
    with pytest.raises(errors.RootUserMissing):
        store.enable(records)
    store.add_user(records, User("root"))
    with pytest.raises(errors.RootRoleMissing):
        store.enable(records)


def test_the_role_root_can_be_granted_without_having_been_created() -> None:
    store, records = AuthStore(), Recorded()
    store.add_user(records, User("root"))
    store.grant_role(records, "root", "root")
    assert store.is_root(Identity("root", store.revision))
    with pytest.raises(errors.RoleNotFound):
        store.role("root")


def test_the_role_root_shows_all_keys() -> None:
    store, records = AuthStore(), Recorded()
    store.add_role(records, "root")
    assert store.role("root").permissions == (Permission(Access.READWRITE, b"", b"\0"),)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda s, r: s.add_user(r, User("")), errors.UserNameEmpty),
        (lambda s, r: s.add_user(r, A), errors.UserExists),
        (lambda s, r: s.delete_user(r, "b"), errors.UserNotFound),
        (lambda s, r: s.delete_user(r, "root"), errors.InvalidAuthManagement),
        (lambda s, r: s.change_password(r, "b", b"x"), errors.UserNotFound),
        (lambda s, r: s.grant_role(r, "b", "r"), errors.UserNotFound),
        (lambda s, r: s.grant_role(r, "a", "q"), errors.RoleNotFound),
        (lambda s, r: s.revoke_role(r, "b", "r"), errors.UserNotFound),
        (lambda s, r: s.revoke_role(r, "a", "q"), errors.RoleNotGranted),
        (lambda s, r: s.revoke_role(r, "root", "root"), errors.InvalidAuthManagement),
        (lambda s, r: s.add_role(r, ""), errors.RoleNameEmpty),
        (lambda s, r: s.add_role(r, "r"), errors.RoleExists),
        (lambda s, r: s.delete_role(r, "q"), errors.RoleNotFound),
        (lambda s, r: s.delete_role(r, "root"), errors.InvalidAuthManagement),
        (lambda s, r: s.grant_permission(r, "r", None), errors.PermissionNotGiven),
        (
            lambda s, r: s.grant_permission(r, "r", Permission(0, b"b", b"a")),
            errors.InvalidAuthManagement,
        ),
        (lambda s, r: s.grant_permission(r, "q", Permission(0, b"b")), errors.RoleNotFound),
        (lambda s, r: s.revoke_permission(r, "q", b"k", b""), errors.RoleNotFound),
        (lambda s, r: s.revoke_permission(r, "r", b"k", b"l"), errors.PermissionNotGranted),
    ],
)
def test_a_refused_change_leaves_everything_as_it_was(
    change: Callable[[AuthStore, Recorded], None], error: type[Exception]
) -> None:
    store, records = granted(Permission(Access.READ, b"k"))
    before = (store.revision, dict(records.users), dict(records.roles))
    with pytest.raises(error):
        change(store, records)
    assert (store.revision, records.users, records.roles) == before


def test_root_can_be_deleted_while_authentication_is_off() -> None:
    store, records = enabled_store()
    store.disable(records)
    store.delete_user(records, "root")
    assert store.users() == []


def test_a_role_that_a_user_has_already_is_granted_without_a_change() -> None:
    store, records = granted()
    before = store.revision
    store.grant_role(records, "a", "r")
    assert store.revision == before


def test_roles_of_a_user_are_sorted() -> None:
    store, records = enabled_store(A)
    for name in ("z", "b", "m"):
        store.add_role(records, name)
        store.grant_role(records, "a", name)
    assert store.user("a").roles == ("b", "m", "z")


def test_a_deleted_role_is_taken_from_its_users() -> None:
    store, records = granted(Permission(Access.READ, b"k"))
    store.delete_role(records, "r")
    assert records.users["a"].roles == store.user("a").roles == ()


def test_a_permission_on_the_same_range_replaces_the_one_before() -> None:
    store, _ = granted(
        Permission(Access.READ, b"k"),
        Permission(Access.READ, b"k", b"z"),
        Permission(Access.WRITE, b"k", b"z"),
    )
    assert store.role("r") == Role(
        "r", (Permission(Access.READ, b"k"), Permission(Access.WRITE, b"k", b"z"))
    )


def test_permissions_of_a_role_are_sorted_by_key() -> None:
    store, _ = granted(*(Permission(Access.READ, key) for key in (b"m", b"a", b"z")))
    assert [one.key for one in store.role("r").permissions] == [b"a", b"m", b"z"]


def test_a_user_without_password_stays_without() -> None:
    store, records = enabled_store(User("n", no_password=True))
    store.change_password(records, "n", b"hash")
    assert records.users["n"] == User("n", b"", (), True)


# Checks


def test_everything_is_permitted_while_authentication_is_off() -> None:
    store = AuthStore()
    store.check_read(ANONYMOUS, b"k")
    store.check_write(ANONYMOUS, b"k", b"\0")
    store.check_root(ANONYMOUS)
    store.check_identified(ANONYMOUS)


def test_a_call_without_identity_is_refused_as_an_empty_user_name() -> None:
    store, _ = enabled_store()
    for check in (store.check_root, store.check_identified):
        with pytest.raises(errors.UserNameEmpty):
            check(ANONYMOUS)
    for ask in (store.check_read, store.check_write):
        with pytest.raises(errors.UserNameEmpty):
            ask(ANONYMOUS, b"k")


def test_an_identity_older_than_a_change_is_refused() -> None:
    store, records = granted(Permission(Access.READWRITE, b"k"))
    old = who(store, "a")
    store.check_read(old, b"k")
    store.add_role(records, "unrelated")
    with pytest.raises(errors.OldRevision):
        store.check_read(old, b"k")
    with pytest.raises(errors.OldRevision):
        store.check_current(old)


def test_root_reads_and_writes_everything() -> None:
    store, _ = enabled_store()
    store.check_read(who(store, "root"), b"\0", b"\0")
    store.check_write(who(store, "root"), b"\0", b"\0")
    store.check_root(who(store, "root"))


def test_a_user_that_is_not_root_is_refused_what_needs_root() -> None:
    store, _ = enabled_store(A)
    with pytest.raises(errors.PermissionDenied):
        store.check_root(who(store, "a"))
    with pytest.raises(errors.UserNotFound):
        store.check_root(who(store, "nobody"))


@pytest.mark.parametrize(
    ("access", "reads", "writes"),
    [
        (Access.READ, True, False),
        (Access.WRITE, False, True),
        (Access.READWRITE, True, True),
        (7, False, False),
    ],
)
def test_reading_and_writing_are_permitted_apart(access: int, reads: bool, writes: bool) -> None:
    store, _ = granted(Permission(access, b"k", b"n"))
    user = who(store, "a")
    for check, permitted in ((store.check_read, reads), (store.check_write, writes)):
        if permitted:
            check(user, b"k", b"n")
        else:
            with pytest.raises(errors.PermissionDenied):
                check(user, b"k", b"n")


def test_permissions_of_several_roles_join() -> None:
    store, records = granted(Permission(Access.READ, b"a", b"m"))
    store.add_role(records, "s")
    store.grant_permission(records, "s", Permission(Access.READ, b"m", b"z"))
    store.grant_role(records, "a", "s")
    store.check_read(who(store, "a"), b"a", b"z")


def test_a_revoked_permission_ends_at_once() -> None:
    store, records = granted(Permission(Access.READ, b"a", b"m"))
    store.check_read(who(store, "a"), b"b")
    store.revoke_permission(records, "r", b"a", b"m")
    with pytest.raises(errors.PermissionDenied):
        store.check_read(who(store, "a"), b"b")


def test_a_deleted_user_is_denied() -> None:
    store, records = granted(Permission(Access.READ, b"a"))
    store.delete_user(records, "a")
    with pytest.raises(errors.PermissionDenied):
        store.check_read(who(store, "a"), b"a")


def test_a_login_tells_a_user_without_password_from_others_as_etcd_does() -> None:
    store, records = enabled_store(A, User("n", no_password=True))
    assert store.login("a") == A
    with pytest.raises(errors.AuthenticationFailed):
        store.login("nobody")
    with pytest.raises(errors.NoPasswordUser):
        store.login("n")
    store.disable(records)
    with pytest.raises(errors.AuthNotEnabled):
        store.login("a")


def test_listeners_hear_whose_tokens_end() -> None:
    store, records = enabled_store(A)
    heard: list[frozenset[str] | None] = []
    store.on_change(heard.append)
    store.add_role(records, "r")
    store.change_password(records, "a", b"other")
    store.delete_user(records, "a")
    store.disable(records)
    assert heard == [frozenset(), frozenset({"a"}), frozenset({"a"}), None]


def test_a_restarted_member_knows_the_same() -> None:
    store, records = granted(Permission(Access.READ, b"a", b"m"))
    again = records.restarted()
    assert (again.enabled, again.revision) == (True, store.revision)
    assert (again.users(), again.roles()) == (["a", "root"], ["r"])
    again.check_read(who(again, "a"), b"a", b"m")
    with pytest.raises(errors.PermissionDenied):
        again.check_write(who(again, "a"), b"a")


def test_a_password_hash_is_in_no_representation() -> None:
    assert "hash" not in repr(User("a", b"hash"))


def test_an_unknown_user_is_compared_with_the_hash_of_some_user() -> None:
    cheap, costly = b"$2a$04$cheap", b"$2b$14$costly"
    store, records = enabled_store(User("a", cheap), User("n", b"", (), no_password=True))
    assert {store.decoy(f"guess {number}") for number in range(50)} == {cheap}
    store.add_user(records, User("b", costly))
    assert {store.decoy(f"guess {number}") for number in range(200)} == {cheap, costly}
    assert len({store.decoy("the same") for _ in range(50)}) == 1


def test_an_unknown_user_costs_no_more_than_a_second() -> None:
    store, _ = enabled_store(User("a", b"$2a$31$days"), User("b", b"$2a$15$long"), User("c", b"?"))
    assert store.decoy("guess") is None


def test_where_nobody_has_a_password_there_is_no_hash_to_compare_with() -> None:
    assert AuthStore().decoy("guess") is None
