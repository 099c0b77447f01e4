"""Wishes to stop: signals and the stop file raise the urgency and never lower it."""

from __future__ import annotations

import signal

import pytest

from optimize.study.stopping import Interruption, Wish, dying_in_order


def test_one_ctrl_c_finishes_and_the_second_cancels() -> None:
    with Interruption() as interruption:
        assert interruption.wish() is Wish.GO_ON
        signal.raise_signal(signal.SIGINT)
        assert (interruption.wish(), interruption.why) == (Wish.FINISH, "Ctrl-C")
        signal.raise_signal(signal.SIGINT)
        assert interruption.wish() is Wish.CANCEL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_a_closed_terminal_cancel_at_once(number: signal.Signals) -> None:
    with Interruption() as interruption:
        signal.raise_signal(number)
        assert (interruption.wish(), interruption.why) == (Wish.CANCEL, number.name)


def test_nohup_keeps_a_closed_terminal_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
            assert interruption.wish() is Wish.GO_ON
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_request_from_another_terminal_raises_the_urgency_and_never_lowers_it() -> None:
    with Interruption() as interruption:
        interruption.ask("")
        assert interruption.wish() is Wish.GO_ON
        interruption.ask("after")
        assert (interruption.wish(), interruption.why) == (Wish.FINISH, "optimize stop")
        interruption.ask("now")
        interruption.ask("after")
        assert interruption.wish() is Wish.CANCEL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_before_the_loop_a_signal_is_an_exception_that_lets_things_be_ended(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as caught, dying_in_order():
        signal.raise_signal(number)
    assert caught.value.code == 128 + number


def test_the_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
