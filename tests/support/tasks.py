"""The end of a background task, as a component of a test reports it."""


def unexpected(error: BaseException) -> None:
    """`fail` of a component none of whose background tasks fails."""
    raise error
