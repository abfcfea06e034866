"""Replace `time.sleep` in every process of the nox session `clock`, which puts this directory on PYTHONPATH.

From Python 3.11 on it waits for a point on the monotonic clock, which faketime 0.9.10 turns into an invalid one.
"""

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex) -> None:
    if float(seconds) < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], float(seconds))


time.sleep = _sleep
