"""Every error rusd answers with: etcd's gRPC status code and etcd's text, in one table.

Clients compare these by text (clientv3 looks the message up), so no other file may spell one.
An error is an exception *instance* shared by all who raise it: `raise errors.EMPTY_KEY`.
Source: etcd `api/v3rpc/rpctypes/error.go`, facts only.
"""

from enum import IntEnum


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


class Removed(Exception):
    """This member was removed from the cluster for good, by its own log: it ends, without being
    broken."""


class SaidRemoved(Exception):
    """Others say that this member was removed from the cluster; its own log does not say so. It
    ends with a failure, as etcd's does."""


class EtcdError(Exception):
    """A refusal as etcd words it: `code` and `message` go to the client unchanged."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def answered(self) -> "EtcdError":
        """Forget where it was raised: an instance that all raisers share would else keep a frame
        of every call that it ever ended, with its request."""
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self

    def __repr__(self) -> str:
        return f"EtcdError({self.code.name}, {self.message!r})"


def _etcd(code: Code, text: str) -> EtcdError:
    return EtcdError(code, f"etcdserver: {text}")


EMPTY_KEY = _etcd(Code.INVALID_ARGUMENT, "key is not provided")
KEY_NOT_FOUND = _etcd(Code.INVALID_ARGUMENT, "key not found")
VALUE_PROVIDED = _etcd(Code.INVALID_ARGUMENT, "value is provided")
LEASE_PROVIDED = _etcd(Code.INVALID_ARGUMENT, "lease is provided")
TOO_MANY_OPS = _etcd(Code.INVALID_ARGUMENT, "too many operations in txn request")
DUPLICATE_KEY = _etcd(Code.INVALID_ARGUMENT, "duplicate key given in txn request")
INVALID_CLIENT_API_VERSION = _etcd(Code.INVALID_ARGUMENT, "invalid client api version")
INVALID_SORT_OPTION = _etcd(Code.INVALID_ARGUMENT, "invalid sort option")
COMPACTED = _etcd(Code.OUT_OF_RANGE, "mvcc: required revision has been compacted")
FUTURE_REVISION = _etcd(Code.OUT_OF_RANGE, "mvcc: required revision is a future revision")
NO_SPACE = _etcd(Code.RESOURCE_EXHAUSTED, "mvcc: database space exceeded")

LEASE_NOT_FOUND = _etcd(Code.NOT_FOUND, "requested lease not found")
LEASE_EXISTS = _etcd(Code.FAILED_PRECONDITION, "lease already exists")
LEASE_TTL_TOO_LARGE = _etcd(Code.OUT_OF_RANGE, "too large lease TTL")

WATCH_CANCELED = _etcd(Code.CANCELED, "watch canceled")

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
CLUSTER_ID_MISMATCH = _etcd(Code.FAILED_PRECONDITION, "cluster ID mismatch")

RANGE_STREAM_SORT = EtcdError(Code.UNIMPLEMENTED, "RangeStream does not support custom sort orders")
RANGE_STREAM_FILTER = EtcdError(Code.UNIMPLEMENTED, "RangeStream does not support revision filters")

AUTH_NOT_ENABLED = _etcd(Code.FAILED_PRECONDITION, "authentication is not enabled")
ROOT_USER_NOT_EXIST = _etcd(Code.FAILED_PRECONDITION, "root user does not exist")
USER_EMPTY = _etcd(Code.INVALID_ARGUMENT, "user name is empty")
USER_NOT_FOUND = _etcd(Code.FAILED_PRECONDITION, "user name not found")
ROLE_EMPTY = _etcd(Code.INVALID_ARGUMENT, "role name is empty")
ROLE_NOT_FOUND = _etcd(Code.FAILED_PRECONDITION, "role name not found")
PERMISSION_NOT_GIVEN = _etcd(Code.INVALID_ARGUMENT, "permission not given")
#: Not etcd's.
USERS_NOT_SUPPORTED = EtcdError(Code.UNIMPLEMENTED, "rusd: users and roles are not supported yet")

REQUEST_TOO_LARGE = _etcd(Code.INVALID_ARGUMENT, "request is too large")
TOO_MANY_REQUESTS = _etcd(Code.RESOURCE_EXHAUSTED, "too many requests")

NO_LEADER = _etcd(Code.UNAVAILABLE, "no leader")
NOT_LEADER = _etcd(Code.FAILED_PRECONDITION, "not leader")
LEADER_CHANGED = _etcd(Code.UNAVAILABLE, "leader changed")
NOT_CAPABLE = _etcd(Code.FAILED_PRECONDITION, "not capable")
STOPPED = _etcd(Code.UNAVAILABLE, "server stopped")
TIMEOUT = _etcd(Code.UNAVAILABLE, "request timed out")
TIMEOUT_LEADER_FAIL = _etcd(
    Code.UNAVAILABLE, "request timed out, possibly due to previous leader failure"
)
TIMEOUT_CONNECTION_LOST = _etcd(
    Code.UNAVAILABLE, "request timed out, possibly due to connection lost"
)
TIMEOUT_APPLIED_INDEX = _etcd(
    Code.UNAVAILABLE, "request timed out, waiting for the applied index took too long"
)
#: etcd gives this one no status of its own, so it reaches clients as UNKNOWN.
TIMEOUT_LEADER_TRANSFER = _etcd(Code.UNKNOWN, "request timed out, leader transfer took too long")
UNHEALTHY = _etcd(Code.UNAVAILABLE, "unhealthy cluster")
CORRUPT = _etcd(Code.DATA_LOSS, "corrupt cluster")
NOT_SUPPORTED_FOR_LEARNER = _etcd(Code.FAILED_PRECONDITION, "rpc not supported for learner")
#: Not etcd's: a committed proposal that no member can make sense of, and therefore skips.
UNDECODABLE = EtcdError(Code.INTERNAL, "rusd: proposal cannot be decoded")
BAD_LEADER_TRANSFEREE = _etcd(Code.FAILED_PRECONDITION, "bad leader transferee")

CANCELED = EtcdError(Code.CANCELED, "context canceled")
DEADLINE_EXCEEDED = EtcdError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
