"""The exceptions a person is meant to read."""


class UserError(Exception):
    """A mistake in what the user gave us: data, config, key, endpoint, disk.

    Its message is one sentence that names the file (and line), the fault and the remedy.
    `ie.core.cli.run` prints it without a traceback and exits with status 1.
    """


class RequestError(Exception):
    """A request to a server that can't be taken; the message is for who sent it. `status` as in HTTP."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
