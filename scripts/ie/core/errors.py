"""Exceptions whose messages are written for the user."""


class UserError(Exception):
    """An error that the user can fix: in data, config, key, endpoint or disk.

    Its message is one sentence that names the file (and line), the fault and the remedy. `ie.core.cli.run`
    prints it without a traceback and exits with status 1. Any function that reads or writes the user's files
    may raise it, so most docstrings don't mention it.
    """


class RequestError(Exception):
    """A request that a server refuses; the message is for the client. `status` as in HTTP."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
