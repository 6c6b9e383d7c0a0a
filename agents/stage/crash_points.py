"""Named points at which a chaos test has a worker killed, as if the power went: nothing runs after it.

``TRADING_CRASH_AT=NAME:COUNT`` kills the process by SIGKILL the COUNT-th time it passes the point NAME.
"""

import os
import signal
from typing import Final

BEFORE_OUTPUTS: Final = "before-outputs"
BEFORE_COMMIT: Final = "before-commit"
BEFORE_STORE: Final = "before-store"
BEFORE_FINGERPRINTS: Final = "before-fingerprints"
BEFORE_SEALS: Final = "before-seals"
AFTER_SEALS: Final = "after-seals"

_NAME, _, _COUNT = os.environ.get("TRADING_CRASH_AT", "").partition(":")
_left = int(_COUNT or 1)


def reach(name: str) -> None:
    """Dies here if it is this point's turn."""
    global _left  # noqa: PLW0603 - the process has one life
    if name == _NAME:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
