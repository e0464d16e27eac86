"""Signals: the first asks, a second Ctrl-C stops at once, and afterwards everything is as it was."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from kosmos.training.interrupt import StopRequest


def test_the_first_signal_asks_and_says_what_comes(capfd: pytest.CaptureFixture[str]) -> None:
    with StopRequest() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
    assert capfd.readouterr().err == "\nstopping after this step and a save; Ctrl-C again stops at once\n"


def test_a_second_ctrl_c_stops_at_once_a_second_sigterm_does_not(capfd: pytest.CaptureFixture[str]) -> None:
    with StopRequest(quiet=True) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err == ""


def test_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopRequest(quiet=True):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_off_the_main_thread_it_does_nothing() -> None:
    seen: list[bool] = []

    def enter() -> None:
        before = signal.getsignal(signal.SIGINT)
        with StopRequest(quiet=True) as stop:
            seen.append(stop.requested or signal.getsignal(signal.SIGINT) is not before)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [False]
