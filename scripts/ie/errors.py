"""The one exception a person is meant to read."""


class UserError(Exception):
    """A mistake in what the user gave us: data, config, key, endpoint, disk.

    Its message is one sentence that names the file (and line), the fault and the remedy.
    `ie.cli.run` prints it without a traceback and exits with status 1.
    """
