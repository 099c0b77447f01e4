"""Wishes to stop: signals and the stop file raise the urgency and never lower it."""

from __future__ import annotations

import signal

import pytest

from optimize.study.stopping import StopLevel, StopSignals, exiting_on_signals


def test_one_ctrl_c_finishes_and_the_second_cancels() -> None:
    with StopSignals() as stop_signals:
        assert stop_signals.level() is StopLevel.NONE
        signal.raise_signal(signal.SIGINT)
        assert (stop_signals.level(), stop_signals.why) == (StopLevel.FINISH, "Ctrl-C")
        signal.raise_signal(signal.SIGINT)
        assert stop_signals.level() is StopLevel.CANCEL


def test_a_cell_is_stopped_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    with StopSignals() as stop_signals:
        signal.raise_signal(signal.SIGINT)
        assert stop_signals.why == "hand"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_sigterm_and_a_closed_terminal_cancel_at_once(number: signal.Signals) -> None:
    with StopSignals() as stop_signals:
        signal.raise_signal(number)
        assert (stop_signals.level(), stop_signals.why) == (StopLevel.CANCEL, number.name)


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ([], 0),
        ([signal.SIGINT], 0),
        ([signal.SIGINT] * 2, 0),  # a person asked for it, and it ended in order
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
        ([signal.SIGINT, signal.SIGTERM], 143),
        ([signal.SIGTERM, signal.SIGHUP], 143),
        ([signal.SIGUSR1], 128 + signal.SIGUSR1),
    ],
)
def test_a_study_that_the_system_ended_has_the_exit_code_that_shells_expect(
    signals: list[signal.Signals], code: int
) -> None:
    with StopSignals() as stop_signals:
        for number in signals:
            signal.raise_signal(number)
        assert stop_signals.exit_code("stopped by Ctrl-C") == code
        assert stop_signals.is_started_again("stopped by Ctrl-C") == (signals == [signal.SIGUSR1])
        assert stop_signals.exit_code("40 trials are done") == 0  # its end came first


def test_nohup_keeps_a_closed_terminal_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop_signals:
            signal.raise_signal(signal.SIGHUP)
            assert stop_signals.level() is StopLevel.NONE
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_request_from_another_terminal_raises_the_urgency_and_never_lowers_it() -> None:
    with StopSignals() as stop_signals:
        stop_signals.ask("")
        assert stop_signals.level() is StopLevel.NONE
        stop_signals.ask("after")
        assert (stop_signals.level(), stop_signals.why) == (StopLevel.FINISH, "optimize stop")
        stop_signals.ask("now")
        stop_signals.ask("after")
        assert stop_signals.level() is StopLevel.CANCEL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_before_the_loop_a_signal_is_an_exception_that_lets_things_be_ended(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as caught, exiting_on_signals():
        signal.raise_signal(number)
    assert caught.value.code == 128 + number


def test_the_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopSignals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
