"""What applying a request gives to the client that waits for it."""

from typing import NamedTuple

from rusd.wire.chunks import Encoded


class Applied(NamedTuple):
    """A successful answer, the same on every member.

    The header's cluster id, member id and term are the answering member's own business; its
    revision is not, since the store may have moved on before the answer is written.
    """

    #: `ResponseHeader.revision` of the answer.
    revision: int
    #: The encoded etcd response without its header field.
    body: Encoded
