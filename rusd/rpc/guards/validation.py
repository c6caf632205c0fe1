"""Validates requests before the caller is authenticated, as in etcd."""

from dataclasses import replace
from typing import Any

from rusd.rpc.call import Call
from rusd.rpc.methods import BidiStream, Method, Unary, accept
from rusd.rpc.requirements import Requirements
from rusd.rpc.responses import Response
from rusd.rpc.streams import ResponseStream, StreamHandler


class Validation:
    """Calls the validation that a method declares."""

    def wrap(self, method: Method, requirements: Requirements) -> Method:
        """See `Guard`."""
        if isinstance(method, BidiStream) or method.validate is accept:
            return method
        validate = method.validate
        if isinstance(method, Unary):
            run = method.call

            def call(request: Any, call: Call) -> Response:
                validate(request)
                return run(request, call)

            return replace(method, call=call)
        start = method.open

        def opened(request: Any, call: Call, responses: ResponseStream) -> StreamHandler:
            validate(request)
            return start(request, call, responses)

        return replace(method, open=opened)
