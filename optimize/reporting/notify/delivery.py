"""Addresses to services, by apprise. Whatever it logs stays here: it may quote an address, which is a secret."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence

import apprise

from optimize.config.environment import NOTIFY_VARIABLE
from optimize.reporting.notify.messages import Message
from optimize.reporting.notify.recipient import Deliver, Recipient

SERVICES = "https://appriseit.com/services/"
_STATUS = re.compile(r"error=(\d{3})\b")  # how apprise's services log what a server answered
_log = logging.getLogger("apprise")
_log.addHandler(logging.NullHandler())  # without a handler, Python prints warnings on stderr
_log.propagate = False


def unfit(urls: Sequence[str]) -> list[str]:
    """Return a line for each address that apprise cannot read."""
    return [_unfit_line(urls, place) for place, url in enumerate(urls) if _service(url) is None]


def open_recipients(urls: Sequence[str], say: Callable[[str], None]) -> list[Recipient]:
    """Open a recipient for each address; `say` takes its lines, from other threads. What cannot be read is left out."""
    found = [(place, _service(url)) for place, url in enumerate(urls)]
    return [
        Recipient(_where(urls, place), str(service.service_name), _deliver(service), say)
        for place, service in found
        if service is not None
    ]


def _service(url: str) -> apprise.NotifyBase | None:
    # No time limit of apprise's: it would use a pool whose threads Python waits for at its end.
    asset = apprise.AppriseAsset(app_id="optimize", async_mode=False, service_timeout=0)
    return apprise.Apprise.instantiate(url, asset=asset)


def _deliver(service: apprise.NotifyBase) -> Deliver:
    one = apprise.Apprise()
    one.add(service)

    def deliver(message: Message) -> str:
        result = one.notify(message.text, message.title, body_format=apprise.NotifyFormat.TEXT)
        if result:
            return ""
        answers = [found[1] for entry in result.logs() if (found := _STATUS.search(entry.message))]
        return f"the server answered {answers[-1]}" if answers else "no server answered"

    return deliver


def _where(urls: Sequence[str], place: int) -> str:
    return f"{NOTIFY_VARIABLE}: URL {place + 1} of {len(urls)}" if len(urls) > 1 else NOTIFY_VARIABLE


def _unfit_line(urls: Sequence[str], place: int) -> str:
    services = apprise.NotificationManager()  # type: ignore[no-untyped-call]
    scheme, found, _ = urls[place].lower().partition("://")
    if not found or scheme not in services:  # then no word of it is sure to be no secret
        return f"{_where(urls, place)}: apprise knows no such URL. Write it as {SERVICES} says, or leave it out."
    what = f"cannot read this {scheme} URL" if services[scheme].enabled else f"lacks a package that {scheme} needs"
    return f"{_where(urls, place)}: apprise {what}. Do as {services[scheme].setup_url} says, or leave it out."
