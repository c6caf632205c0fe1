"""The result of a request, for the client that waits for it."""

from typing import NamedTuple

from rusd.base.chunks import Encoded


class Applied(NamedTuple):
    """A successful response, the same on every member.

    The responding member adds the header: cluster id, member id and term are its own; the revision
    is stored here, since the store may move on before the response is sent.
    """

    #: `ResponseHeader.revision` of the response.
    revision: int
    #: The encoded etcd response without its header field.
    body: Encoded
