"""Waiting: always for a condition, never for a time; always with an end."""

import time

POLL_SECONDS = 0.02


def wait_until(condition, seconds, what):
    """Polls until the condition yields something true, and returns that; `what` completes "gave up waiting for ..."."""
    deadline = time.monotonic() + seconds
    while True:
        outcome = condition()
        if outcome:
            return outcome
        if time.monotonic() > deadline:
            raise AssertionError(f"gave up waiting for {what() if callable(what) else what}, after {seconds} s")
        time.sleep(POLL_SECONDS)
