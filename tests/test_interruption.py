"""Wishes to stop: signals and the stop file raise the urgency and never lower it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from optimize.interruption import Interruption, Wish, request_stop


def test_one_ctrl_c_finishes_and_the_second_cancels(tmp_path: Path) -> None:
    with Interruption(tmp_path / "stop") as interruption:
        assert interruption.wish() is Wish.GO_ON
        signal.raise_signal(signal.SIGINT)
        assert (interruption.wish(), interruption.why) == (Wish.FINISH, "Ctrl-C")
        signal.raise_signal(signal.SIGINT)
        assert interruption.wish() is Wish.CANCEL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_a_closed_terminal_cancel_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with Interruption(tmp_path / "stop") as interruption:
        signal.raise_signal(number)
        assert (interruption.wish(), interruption.why) == (Wish.CANCEL, number.name)


def test_nohup_keeps_a_closed_terminal_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption(tmp_path / "stop") as interruption:
            signal.raise_signal(signal.SIGHUP)
            assert interruption.wish() is Wish.GO_ON
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_stop_file_is_a_wish_from_another_terminal(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    with Interruption(stop) as interruption:
        request_stop(stop, now=False)
        assert interruption.wish() is Wish.FINISH
        request_stop(stop, now=True)
        assert interruption.wish() is Wish.CANCEL
    assert not stop.exists()


def test_an_old_stop_file_stops_nothing(tmp_path: Path) -> None:
    request_stop(tmp_path / "stop", now=True)
    with Interruption(tmp_path / "stop") as interruption:
        assert interruption.wish() is Wish.GO_ON


def test_the_signals_are_given_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption(tmp_path / "stop"):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
