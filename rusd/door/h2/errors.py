"""What a peer can do wrong, and what it costs: one stream, or all (RFC 9113, 5.4 and 7)."""

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = range(5)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = range(5, 10)
CONNECT_ERROR, ENHANCE_YOUR_CALM = 10, 11


class ConnectionFault(Exception):
    """The connection cannot go on: GOAWAY with `code` and `text`, then it is closed."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class StreamFault(Exception):
    """One stream cannot go on: RST_STREAM with `code`; the others do not notice."""

    def __init__(self, stream: int, code: int) -> None:
        super().__init__(code)
        self.stream = stream
        self.code = code
