"""Error codes, connection errors and stream errors (RFC 9113, sections 5.4 and 7)."""

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT = range(5)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM = 5, 6, 7
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11
#: The codes above by name, for logs.
NAMES = {
    NO_ERROR: "NO_ERROR",
    PROTOCOL_ERROR: "PROTOCOL_ERROR",
    INTERNAL_ERROR: "INTERNAL_ERROR",
    FLOW_CONTROL_ERROR: "FLOW_CONTROL_ERROR",
    SETTINGS_TIMEOUT: "SETTINGS_TIMEOUT",
    STREAM_CLOSED: "STREAM_CLOSED",
    FRAME_SIZE_ERROR: "FRAME_SIZE_ERROR",
    REFUSED_STREAM: "REFUSED_STREAM",
    COMPRESSION_ERROR: "COMPRESSION_ERROR",
    ENHANCE_YOUR_CALM: "ENHANCE_YOUR_CALM",
}


class H2ConnectionError(Exception):
    """Ends the connection: GOAWAY with `code` and `text`, then it is closed (5.4.1)."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class H2StreamError(Exception):
    """Ends one stream: RST_STREAM with `code`; other streams go on (5.4.2)."""

    def __init__(self, stream: int, code: int) -> None:
        super().__init__(code)
        self.stream = stream
        self.code = code
