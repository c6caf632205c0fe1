"""Responses of unary calls: encoded messages, now or later.

Services join responses from bytes that the store already holds, so nothing is encoded twice. A
response that depends on a proposal or a read index is made in the turn of the loop that brings
that (`Pending.then`); only long work gets a task.
"""

from collections.abc import Awaitable

from rusd.base.chunks import Encoded

#: An encoded message, or an awaitable of one that may fail with a refusal.
Response = Encoded | Awaitable[Encoded]
