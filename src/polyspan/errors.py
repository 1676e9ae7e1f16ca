"""The one base class of errors that a user can mend."""


class PolyspanError(ValueError):
    """What is wrong, where, and what to do, in one line.

    The command line prints the message without a traceback and exits with ``exit_code``.
    """

    exit_code = 1
