"""JSON of one method: its requests are read, and its responses written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import EncodeError, Message
from google.protobuf.message_factory import GetMessageClass

from rusd.base.chunks import Encoded
from rusd.base.logs import get_logger
from rusd.door.gateway.json_pieces import pieces
from rusd.door.gateway.json_reader import MessageReader
from rusd.door.gateway.json_syntax import JsonError
from rusd.door.gateway.json_types import ByType
from rusd.door.gateway.json_writer import MessageWriter
from rusd.door.gateway.memory import AnswerMemory, StreamMemory
from rusd.rpc.errors import Code, Definition, EtcdError, as_etcd

log = get_logger(__name__)

BUG = Definition(Code.UNKNOWN, "internal error")


@dataclass(frozen=True, slots=True)
class MethodJson:
    """State that all calls of one method share."""

    #: Of gRPC.
    path: str
    reader: MessageReader
    writer: MessageWriter
    #: Bytes of an encoded request.
    limit: int
    #: Of all methods.
    answers: AnswerMemory
    streams: StreamMemory

    def request(self, text: bytes) -> tuple[Message, bytes]:
        """Parse the request `text`; return it and its encoding. Raises EtcdError."""
        try:
            request = self.reader.read(text)
            raw = request.SerializeToString()
        except JsonError as error:
            raise EtcdError(Code.INVALID_ARGUMENT, str(error)) from None
        except EncodeError:
            raise EtcdError(Code.INVALID_ARGUMENT, "exceeded max recursion depth") from None
        if len(raw) > self.limit:
            text_ = f"grpc: received message larger than max ({len(raw)} vs. {self.limit})"
            raise EtcdError(Code.RESOURCE_EXHAUSTED, text_)
        return request, raw

    def text(self, encoded: bytes) -> bytes:
        """Return an encoded response as JSON."""
        return self.writer.text(self.writer.decode(encoded)).encode()

    def pieces(self, encoded: Encoded) -> Iterator[bytes]:
        """Return an encoded response as JSON in pieces."""
        return pieces(self.writer, encoded)

    def told(self, error: BaseException) -> EtcdError:
        """Return the error that the client receives; log `error` if it is a fault."""
        refusal = as_etcd(error)
        if refusal is None:
            log.error("a call failed", exc_info=error, extra={"fields": {"method": self.path}})
            return BUG()
        return refusal


class MethodsJson:
    """Makes the `MethodJson` of each method."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of an encoded request."""
        self._limit = limit
        self._answers = AnswerMemory()
        self._streams = StreamMemory()
        self._readers = ByType(MessageReader)
        self._writers = ByType(lambda kind: MessageWriter(GetMessageClass(kind).FromString))

    def of(
        self,
        path: str,
        request: type[Message],
        decode_response: Callable[[bytes], Message] | None = None,
    ) -> MethodJson:
        """Return the `MethodJson` of the gRPC path `path`.

        `request`: the class of its requests. `decode_response`: see `Unary`.
        """
        descriptor: Any = request.DESCRIPTOR
        pool: Any = descriptor.file.pool
        response: Descriptor = pool.FindMethodByName(path[1:].replace("/", ".")).output_type
        writer = self._writers.of(response)
        if decode_response is not None:
            writer.decode = decode_response
        return MethodJson(
            path,
            self._readers.of(descriptor),
            writer,
            self._limit,
            self._answers,
            self._streams,
        )
