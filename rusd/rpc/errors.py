"""Every error sent to clients: gRPC status code and etcd's text, in one table.

Clients compare errors by their text (clientv3 looks the message up), so no other file spells one of
etcd's. An entry of the table is a definition; calling it makes a new exception to raise:
`raise errors.EMPTY_KEY()`. The rooms below know no etcd and raise refusals of their own
(`rusd/base/errors.py`); `as_etcd` gives the error that a client gets instead.
Source of codes and texts: etcd `api/v3rpc/rpctypes/error.go`, facts only.
"""

from enum import IntEnum
from typing import NamedTuple

from rusd.auth import errors as auth
from rusd.base.errors import Refusal
from rusd.lease import errors as lease
from rusd.mvcc import errors as mvcc
from rusd.raft import errors as raft
from rusd.state import errors as state
from rusd.watch import errors as watch


class Code(IntEnum):
    """gRPC status codes (https://grpc.io/docs/guides/status-codes/)."""

    OK = 0
    CANCELED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class EtcdError(Refusal):
    """A refusal whose status is sent to the client unchanged. Errors of equal status are equal."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EtcdError):
            return NotImplemented
        return (self.code, self.message) == (other.code, other.message)

    def __hash__(self) -> int:
        return hash((self.code, self.message))

    def __repr__(self) -> str:
        return f"EtcdError({self.code.name}, {self.message!r})"


class Definition(NamedTuple):
    """The status of an error; a call returns a new exception with that status."""

    code: Code
    message: str

    def __call__(self) -> EtcdError:
        return EtcdError(self.code, self.message)


def _etcd(code: Code, text: str) -> Definition:
    return Definition(code, f"etcdserver: {text}")


EMPTY_KEY = _etcd(Code.INVALID_ARGUMENT, "key is not provided")
KEY_NOT_FOUND = _etcd(Code.INVALID_ARGUMENT, "key not found")
VALUE_PROVIDED = _etcd(Code.INVALID_ARGUMENT, "value is provided")
LEASE_PROVIDED = _etcd(Code.INVALID_ARGUMENT, "lease is provided")
TOO_MANY_OPS = _etcd(Code.INVALID_ARGUMENT, "too many operations in txn request")
DUPLICATE_KEY = _etcd(Code.INVALID_ARGUMENT, "duplicate key given in txn request")
INVALID_SORT_OPTION = _etcd(Code.INVALID_ARGUMENT, "invalid sort option")
COMPACTED = _etcd(Code.OUT_OF_RANGE, "mvcc: required revision has been compacted")
FUTURE_REVISION = _etcd(Code.OUT_OF_RANGE, "mvcc: required revision is a future revision")
NO_SPACE = _etcd(Code.RESOURCE_EXHAUSTED, "mvcc: database space exceeded")

LEASE_NOT_FOUND = _etcd(Code.NOT_FOUND, "requested lease not found")
LEASE_EXISTS = _etcd(Code.FAILED_PRECONDITION, "lease already exists")
LEASE_TTL_TOO_LARGE = _etcd(Code.OUT_OF_RANGE, "too large lease TTL")

MEMBER_EXISTS = _etcd(Code.FAILED_PRECONDITION, "member ID already exist")
PEER_URL_EXISTS = _etcd(Code.FAILED_PRECONDITION, "Peer URLs already exists")
#: etcd gives this one no status of its own, so it reaches clients as UNKNOWN.
MEMBER_NOT_ENOUGH_STARTED = _etcd(
    Code.UNKNOWN, "re-configuration failed due to not enough started members"
)
MEMBER_BAD_URLS = _etcd(Code.INVALID_ARGUMENT, "given member URLs are invalid")
MEMBER_NOT_FOUND = _etcd(Code.NOT_FOUND, "member not found")
MEMBER_NOT_LEARNER = _etcd(Code.FAILED_PRECONDITION, "can only promote a learner member")
LEARNER_NOT_READY = _etcd(
    Code.FAILED_PRECONDITION, "can only promote a learner member which is in sync with leader"
)
TOO_MANY_LEARNERS = _etcd(Code.FAILED_PRECONDITION, "too many learner members in cluster")

RANGE_STREAM_SORT = Definition(
    Code.UNIMPLEMENTED, "RangeStream does not support custom sort orders"
)
RANGE_STREAM_FILTER = Definition(
    Code.UNIMPLEMENTED, "RangeStream does not support revision filters"
)

AUTH_NOT_ENABLED = _etcd(Code.FAILED_PRECONDITION, "authentication is not enabled")
AUTH_FAILED = _etcd(Code.INVALID_ARGUMENT, "authentication failed, invalid user ID or password")
#: etcd gives these three no status of their own, so they reach clients as UNKNOWN.
NO_PASSWORD_USER = Definition(
    Code.UNKNOWN, "auth: authentication failed, password was given for no password user"
)
PASSWORD_TOO_LONG = Definition(Code.UNKNOWN, "bcrypt: password length exceeds 72 bytes")
VERIFY_ONLY = Definition(Code.UNKNOWN, "auth: token signing attempted with verify-only key")
INVALID_AUTH_TOKEN = _etcd(Code.UNAUTHENTICATED, "invalid auth token")
INVALID_AUTH_MGMT = _etcd(Code.INVALID_ARGUMENT, "invalid auth management")
AUTH_OLD_REVISION = _etcd(Code.INVALID_ARGUMENT, "revision of auth store is old")
PERMISSION_DENIED = _etcd(Code.PERMISSION_DENIED, "permission denied")
ROOT_ROLE_NOT_EXIST = _etcd(Code.FAILED_PRECONDITION, "root user does not have root role")
USER_EXISTS = _etcd(Code.FAILED_PRECONDITION, "user name already exists")
ROLE_EXISTS = _etcd(Code.FAILED_PRECONDITION, "role name already exists")
ROLE_NOT_GRANTED = _etcd(Code.FAILED_PRECONDITION, "role is not granted to the user")
PERMISSION_NOT_GRANTED = _etcd(Code.FAILED_PRECONDITION, "permission is not granted to the role")
ROOT_USER_NOT_EXIST = _etcd(Code.FAILED_PRECONDITION, "root user does not exist")
USER_EMPTY = _etcd(Code.INVALID_ARGUMENT, "user name is empty")
USER_NOT_FOUND = _etcd(Code.FAILED_PRECONDITION, "user name not found")
ROLE_EMPTY = _etcd(Code.INVALID_ARGUMENT, "role name is empty")
ROLE_NOT_FOUND = _etcd(Code.FAILED_PRECONDITION, "role name not found")
PERMISSION_NOT_GIVEN = _etcd(Code.INVALID_ARGUMENT, "permission not given")

#: Of etcd's client library, which its Lock and Election services are made of.
SESSION_EXPIRED = Definition(Code.UNKNOWN, "mutex: session is expired")
ELECTION_NO_LEADER = Definition(Code.UNKNOWN, "election: no leader")
ELECTION_NOT_LEADER = Definition(Code.UNKNOWN, "election: not leader")
LEADER_MISSING = Definition(Code.UNKNOWN, '"leader" field must be provided')
LOST_WATCHER = Definition(Code.UNKNOWN, "lost watcher waiting for delete")

#: Not etcd's: between members, and to the client of a member that had to ask another.
ANSWER_TOO_LARGE = Definition(Code.RESOURCE_EXHAUSTED, "the answer is too large")
REQUEST_TOO_LARGE = _etcd(Code.INVALID_ARGUMENT, "request is too large")
TOO_MANY_REQUESTS = _etcd(Code.RESOURCE_EXHAUSTED, "too many requests")

NO_LEADER = _etcd(Code.UNAVAILABLE, "no leader")
NOT_LEADER = _etcd(Code.FAILED_PRECONDITION, "not leader")
LEADER_CHANGED = _etcd(Code.UNAVAILABLE, "leader changed")
STOPPED = _etcd(Code.UNAVAILABLE, "server stopped")
TIMEOUT = _etcd(Code.UNAVAILABLE, "request timed out")
TIMEOUT_LEADER_FAIL = _etcd(
    Code.UNAVAILABLE, "request timed out, possibly due to previous leader failure"
)
TIMEOUT_CONNECTION_LOST = _etcd(
    Code.UNAVAILABLE, "request timed out, possibly due to connection lost"
)
#: etcd gives this one no status of its own, so it reaches clients as UNKNOWN.
TIMEOUT_LEADER_TRANSFER = _etcd(Code.UNKNOWN, "request timed out, leader transfer took too long")
UNHEALTHY = _etcd(Code.UNAVAILABLE, "unhealthy cluster")
CORRUPT = _etcd(Code.DATA_LOSS, "corrupt cluster")
NOT_SUPPORTED_FOR_LEARNER = _etcd(Code.FAILED_PRECONDITION, "rpc not supported for learner")
#: Not etcd's: a committed proposal that no member can make sense of, and therefore skips.
MALFORMED_PEER_REQUEST = Definition(Code.INVALID_ARGUMENT, "rusd: malformed request of a member")
MALFORMED_PEER_ANSWER = Definition(Code.INTERNAL, "rusd: malformed answer of a member")
UNDECODABLE = Definition(Code.INTERNAL, "rusd: proposal cannot be decoded")
#: Not etcd's: an auth change while a member runs a release before users and roles.
MEMBER_TOO_OLD = Definition(
    Code.FAILED_PRECONDITION, "rusd: a member runs a release without users and roles"
)
#: The same of downgrades.
MEMBER_TOO_OLD_TO_DOWNGRADE = Definition(
    Code.FAILED_PRECONDITION, "rusd: a member runs a release without downgrades"
)
#: The same of txns within txns.
MEMBER_TOO_OLD_FOR_TXN = Definition(
    Code.FAILED_PRECONDITION, "rusd: a member runs a release that reads fewer nested txns"
)
WRONG_DOWNGRADE_FORMAT = _etcd(Code.INVALID_ARGUMENT, "wrong downgrade target version format")
INVALID_DOWNGRADE_TARGET = _etcd(Code.INVALID_ARGUMENT, "invalid downgrade target version")
CLUSTER_VERSION_UNAVAILABLE = _etcd(
    Code.FAILED_PRECONDITION, "cluster version not found during downgrade"
)
DOWNGRADE_IN_PROCESS = _etcd(Code.FAILED_PRECONDITION, "cluster has a downgrade job in progress")
UNKNOWN_METHOD = _etcd(Code.UNKNOWN, "unknown method")
BAD_LEADER_TRANSFEREE = _etcd(Code.FAILED_PRECONDITION, "bad leader transferee")

CANCELED = Definition(Code.CANCELED, "context canceled")
DEADLINE_EXCEEDED = Definition(Code.DEADLINE_EXCEEDED, "context deadline exceeded")


#: Refusals of the rooms below -> the client's error. (A refusal whose text varies: `as_etcd`.)
_MEANINGS: dict[type[Refusal], Definition] = {
    auth.AuthNotEnabled: AUTH_NOT_ENABLED,
    auth.AuthenticationFailed: AUTH_FAILED,
    auth.InvalidAuthManagement: INVALID_AUTH_MGMT,
    auth.InvalidToken: INVALID_AUTH_TOKEN,
    auth.NoPasswordUser: NO_PASSWORD_USER,
    auth.OldRevision: AUTH_OLD_REVISION,
    auth.PasswordTooLong: PASSWORD_TOO_LONG,
    auth.PermissionDenied: PERMISSION_DENIED,
    auth.PermissionNotGiven: PERMISSION_NOT_GIVEN,
    auth.PermissionNotGranted: PERMISSION_NOT_GRANTED,
    auth.RoleExists: ROLE_EXISTS,
    auth.RoleNameEmpty: ROLE_EMPTY,
    auth.RoleNotFound: ROLE_NOT_FOUND,
    auth.RoleNotGranted: ROLE_NOT_GRANTED,
    auth.RootRoleMissing: ROOT_ROLE_NOT_EXIST,
    auth.RootUserMissing: ROOT_USER_NOT_EXIST,
    auth.SigningImpossible: VERIFY_ONLY,
    auth.UserExists: USER_EXISTS,
    auth.UserNameEmpty: USER_EMPTY,
    auth.UserNotFound: USER_NOT_FOUND,
    lease.LeaderTimeout: TIMEOUT,
    lease.NoLeader: NO_LEADER,
    mvcc.Compacted: COMPACTED,
    mvcc.FutureRevision: FUTURE_REVISION,
    raft.AnswerTooLarge: ANSWER_TOO_LARGE,
    raft.BadTransferee: BAD_LEADER_TRANSFEREE,
    raft.ConnectionLost: TIMEOUT_CONNECTION_LOST,
    raft.LeaderFailed: TIMEOUT_LEADER_FAIL,
    raft.MalformedAnswer: MALFORMED_PEER_ANSWER,
    raft.MalformedQuestion: MALFORMED_PEER_REQUEST,
    raft.NotLeader: NOT_LEADER,
    raft.RequestTimeout: TIMEOUT,
    raft.Stopped: STOPPED,
    raft.TooLarge: REQUEST_TOO_LARGE,
    raft.TooManyProposals: TOO_MANY_REQUESTS,
    raft.TooManyQuestions: TOO_MANY_REQUESTS,
    raft.TooManyReads: TOO_MANY_REQUESTS,
    raft.TransferTimeout: TIMEOUT_LEADER_TRANSFER,
    state.Corrupt: CORRUPT,
    state.EmptyKey: EMPTY_KEY,
    state.KeyNotFound: KEY_NOT_FOUND,
    state.LastVoter: MEMBER_NOT_ENOUGH_STARTED,
    state.LeaderChanged: LEADER_CHANGED,
    state.LeaseExists: LEASE_EXISTS,
    state.LeaseNotFound: LEASE_NOT_FOUND,
    state.LeaseTtlTooLarge: LEASE_TTL_TOO_LARGE,
    state.MemberExists: MEMBER_EXISTS,
    state.MemberNotFound: MEMBER_NOT_FOUND,
    state.NoSpace: NO_SPACE,
    state.NotLearner: MEMBER_NOT_LEARNER,
    state.PeerUrlExists: PEER_URL_EXISTS,
    state.TooManyLearners: TOO_MANY_LEARNERS,
    state.Undecodable: UNDECODABLE,
    watch.TooManyUnread: TOO_MANY_REQUESTS,
}
_CODES = frozenset(Code)


def as_etcd(error: BaseException) -> EtcdError | None:
    """Returns the client's error, or None if `error` is a fault and not a refusal."""
    if isinstance(error, EtcdError):
        return error
    definition = _MEANINGS.get(type(error))  # type: ignore[arg-type]
    if definition is not None:
        return definition()
    if isinstance(error, raft.AnsweredWithError):
        # Written by `described` of another member, possibly of a later release.
        code = Code(error.code) if error.code in _CODES else Code.UNKNOWN
        return EtcdError(code, error.text)
    if isinstance(error, raft.UnknownQuestion):
        return EtcdError(Code.UNIMPLEMENTED, str(error))
    return None


def described(error: Exception) -> tuple[int, str]:
    """Return code and text that carry an error to another member (`rusd.raft.ports.Describe`)."""
    told = as_etcd(error) or EtcdError(Code.INTERNAL, repr(error))
    return int(told.code), told.message
