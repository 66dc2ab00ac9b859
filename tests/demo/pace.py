"""What every job of the demo does: a name in the process list, a word when it begins, things at their own pace."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

Action = Callable[[], object]


def call_yourself(name: str) -> None:
    """The process's name, as ps and l7top show it."""
    Path("/proc/self/comm").write_text(name)


def begin() -> None:
    """Tells that from now on there is traffic."""
    print("ready", flush=True)


def keep_doing(*paces: tuple[float, Action]) -> None:
    """Does each action about so many times a second, each in a thread of its own, until the process is killed.

    An error ends the process: a demo that has lost part of its traffic shows something else than it says.
    """
    failed = threading.Event()
    errors: list[Exception] = []

    def repeat(rate: float, action: Action) -> None:
        try:
            while True:
                began = time.monotonic()
                action()
                time.sleep(max(0.0, random.expovariate(rate) - (time.monotonic() - began)))
        except Exception as error:
            errors.append(error)
            failed.set()

    begin()
    for rate, action in paces:
        threading.Thread(target=repeat, args=(rate, action), daemon=True).start()
    failed.wait()
    raise errors[0]
