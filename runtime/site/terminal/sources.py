"""From the command line to a `LiveFeed`: broker or recording, and what goes with it."""

from __future__ import annotations

import os
import random
import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from models.errors import OperatorError
from runtime.messages.topics import SiteName
from runtime.mqtt.settings import BrokerSettings
from runtime.site.live_model.memory_limits import MemoryLimits
from runtime.site.live_model.replay_policy import ReplayPolicy
from runtime.site.live_model.site_state import SiteState
from runtime.site.subscriber.recording import Recorder, read_recording, recorded_site
from runtime.site.subscriber.subscriber import HOUR_S, Subscriber, SubscriberSettings
from runtime.site.terminal.feed import LiveFeed, RecordingSource

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

WEEK_S = 7 * 24 * HOUR_S


class UsageError(OperatorError, ValueError):
    """What was asked for on the command line does not go together; the text says what would."""


def clock_ms() -> int:
    """The wall clock, UTC."""
    return time.time_ns() // 1_000_000


@contextmanager
def listening(arguments: Namespace, *, speed: float = 0.0) -> Iterator[LiveFeed]:
    """Opens what `--broker` or `--replay` names, for the time of the block.

    Raises:
        UsageError: options that do not go together, or no such settings.
        RecordingError: the recording is none.
        OSError: a file cannot be read or written.
    """
    if arguments.replay is not None:
        with _recorded(arguments, speed) as opened:
            yield opened
        return
    if arguments.site is None:
        raise UsageError("--site is needed: the name in the topics, mammoedge/v1/SITE/...")
    site = _checked_site(arguments.site)
    subscriber = Subscriber(
        broker_settings(arguments),
        _subscription(arguments, site),
        clock_ms=clock_ms,
        monotonic=time.monotonic,
        randomness=random.Random(),  # noqa: S311 - pauses, no secrets
    )
    try:
        with _recorder(arguments, site) as recorder:
            yield LiveFeed(
                subscriber,
                _site_state(arguments, site),
                clock_ms=clock_ms,
                recorder=recorder,
                replay_policy=ReplayPolicy() if arguments.follow_gaps else None,
            )
    finally:
        subscriber.close(forget=arguments.session is None)


def _subscription(arguments: Namespace, site: str) -> SubscriberSettings:
    # Without a name of its own the session bridges short cuts only, and is dropped at the end.
    name = arguments.session or f"{os.getpid()}-{secrets.token_hex(4)}"
    return SubscriberSettings(
        site=site,
        client_id=f"mammoedge-watch-{name}",
        session_expiry_s=HOUR_S if arguments.session is None else WEEK_S,
        group=arguments.group,
    )


@contextmanager
def _recorded(arguments: Namespace, speed: float) -> Iterator[LiveFeed]:
    for option in ("record", "session", "group"):
        if getattr(arguments, option) is not None:
            raise UsageError(f"--{option} needs a broker, --replay has none")
    if arguments.follow_gaps:
        raise UsageError("--follow-gaps needs a broker: nobody answers in a recording")
    site = arguments.site or recorded_site(arguments.replay)
    source = RecordingSource(read_recording(arguments.replay), speed=speed)
    site_state = _site_state(arguments, _checked_site(site))
    yield LiveFeed(source, site_state, clock_ms=source.clock_ms)


def _site_state(arguments: Namespace, site: str) -> SiteState:
    rows = arguments.keep
    return SiteState(site, limits=MemoryLimits(rows=rows, digests=max(rows, 5000)))


@contextmanager
def _recorder(arguments: Namespace, site: str) -> Iterator[Recorder | None]:
    if arguments.record is None:
        yield None
        return
    with arguments.record.open("x", encoding="ascii") as file:
        yield Recorder(file, site)


def broker_settings(arguments: Namespace) -> BrokerSettings:
    """The options of the group "the broker", checked as a unit's settings are.

    Raises:
        UsageError: they do not go together.
    """
    host, _, port = arguments.broker.rpartition(":")
    if not host or not port.isdigit():
        # No port; an IPv6 address has colons of its own and stands in brackets with one.
        host, port = arguments.broker, "1883" if arguments.no_tls else "8883"
    try:
        return BrokerSettings(
            host=host.strip("[]"),
            port=int(port),
            tls=not arguments.no_tls,
            ca_file=arguments.ca,
            certificate_file=arguments.certificate,
            key_file=arguments.key,
            username=arguments.username,
            password_file=arguments.password_file,
        )
    except ValidationError as error:
        faults = "; ".join(str(fault["msg"]) for fault in error.errors(include_input=False))
        raise UsageError(f"--broker and its options: {faults}") from None


def _checked_site(site: str) -> str:
    try:
        name: str = TypeAdapter(SiteName).validate_python(site)
    except ValidationError:
        raise UsageError(
            "--site: 1-64 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        ) from None
    return name
