"""The error that is meant for the operator."""


class OperatorError(Exception):
    """Something outside the engine is not as it must be; the message says what, and the reader's next act.

    The command line prints it in one line, without a traceback.
    """
