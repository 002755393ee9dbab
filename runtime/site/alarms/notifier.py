"""Alarms out of the store: on MQTT (`_site/alarm`), and to an Alertmanager's webhook.

An alarm, raised or cleared, is told until it was taken; only then does the database say so: a
crash in between tells it again, and loses none. One thread, beside the watch: a webhook that hangs
stops nothing.
"""

from __future__ import annotations

import json
import logging
import threading
import urllib.error
import urllib.request
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from models.errors import PeerError
from runtime.messages.alarm import AlarmMessage, AlarmState, Severity
from runtime.site.alarms.alarm_reconciliation import tell_again, told, untold
from runtime.site.queries.alarm_entries import open_alarms
from runtime.site.store.store import StoreError
from runtime.timing.timestamps import utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runtime.site.config.settings import WebhookSection
    from runtime.site.queries.fleet_summary import AlarmEntry
    from runtime.site.store.service_state import StateBoard
    from runtime.site.store.store import Store
    from runtime.site.subscriber.subscriber import Subscriber
    from runtime.timing.backoff import Backoff

LOG = logging.getLogger(__name__)

PUBLISHED = "published_version"
POSTED = "posted_version"
ALERTS_AT_ONCE = 64
LONGEST_ANSWER = 4096


def alarm_message(alarm: AlarmEntry, *, boot_id: str) -> AlarmMessage:
    """An alarm as it is said on MQTT."""
    closed = alarm.closed_ms is not None
    return AlarmMessage(
        site=alarm.site,
        unit=alarm.unit or None,
        boot_id=boot_id,
        at=utc_text(alarm.changed_ms),
        alarm=alarm.kind,
        state=AlarmState.CLEARED if closed else AlarmState.RAISED,
        severity=Severity(alarm.severity),
        since=utc_text(alarm.since_ms),
        saw=alarm.saw[:512],
        advice=alarm.advice[:512],
        data=alarm.data | ({"subject": alarm.subject} if alarm.subject else {}),
    )


def alert(alarm: AlarmEntry) -> dict[str, Any]:
    """An alarm as Alertmanager takes it (POST /api/v2/alerts, its OpenAPI `postableAlert`)."""
    labels = {
        "alertname": f"mammoedge_{alarm.kind}",
        "site": alarm.site,
        "unit": alarm.unit,
        "subject": alarm.subject,
        "severity": alarm.severity,
    }
    said: dict[str, Any] = {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {"summary": alarm.saw, "description": alarm.advice},
        "startsAt": utc_text(alarm.since_ms),
    }
    if alarm.closed_ms is not None:
        said["endsAt"] = utc_text(alarm.closed_ms)
    return said


class WebhookRefusedError(PeerError):
    """The webhook did not take the alerts."""


def post(settings: WebhookSection, alerts: Sequence[dict[str, Any]]) -> None:
    """One request. Raises WebhookRefusedError."""
    headers = {"Content-Type": "application/json"}
    try:
        if settings.bearer_token_file is not None:
            token = settings.bearer_token_file.read_text(encoding="utf-8").strip()
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(  # noqa: S310 - settings allow http and https only
            settings.url or "", json.dumps(alerts).encode(), headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=settings.timeout_s) as answer:  # noqa: S310 - as above
            answer.read(LONGEST_ANSWER)
    except (OSError, ValueError) as error:
        raise WebhookRefusedError(str(error)) from error


class Notifier:
    """The loop. `wake` starts a round; without it one begins every `repeat_s`."""

    def __init__(
        self,
        *,
        site: str,
        boot_id: str,
        store: Store,
        board: StateBoard,
        webhook: WebhookSection,
        backoff: Backoff,
        errands: SimpleQueue[Callable[[Subscriber], None]],
        monotonic: Callable[[], float],
    ) -> None:
        self._site = site
        self._boot_id = boot_id
        self._store = store
        self._board = board
        self._webhook = webhook
        self._backoff = backoff
        self._errands = errands
        self._monotonic = monotonic
        self._woken = threading.Event()
        self._link_is_new = threading.Event()
        self._in_flight: dict[int, int] = {}
        """Versions by alarm that were said on this connection, not taken by the broker yet."""
        self._answers: SimpleQueue[tuple[int, int]] = SimpleQueue()
        self._taken: list[tuple[int, int]] = []
        """Alarms (with their version) that the broker has, and the database does not know it."""
        self._repeated_s = monotonic()

    def wake(self) -> None:
        """There may be something to tell. Any thread, returns at once."""
        self._woken.set()

    def link_up(self) -> None:
        """The broker may have forgotten what we said: open alarms are said again."""
        self._link_is_new.set()
        self._woken.set()

    def run(self, stop: threading.Event) -> None:
        """Until told to stop."""
        while not stop.is_set():
            self._woken.wait(min(1.0, self._webhook.repeat_s))
            self._woken.clear()
            if not self._board.now().watching:
                continue
            try:
                self._publish()
                self._post(stop)
            except StoreError as error:
                LOG.warning("alarms wait for the database: %s", error)
                stop.wait(1.0)

    def _publish(self) -> None:
        if self._link_is_new.is_set():
            with self._store.writing() as connection:
                tell_again(connection, self._site, PUBLISHED)
            self._link_is_new.clear()
            self._in_flight.clear()
        self._note_taken()
        if not self._board.now().broker_up:
            return
        with self._store.reading() as connection:
            waiting = untold(connection, self._site, PUBLISHED)
        for alarm, version in waiting:
            if self._in_flight.get(alarm.alarm_no) == version:
                continue
            self._in_flight[alarm.alarm_no] = version
            self._errands.put(self._saying(alarm, version))
            LOG.info("alarm: kind=%s unit=%s closed=%s", alarm.kind, alarm.unit, alarm.closed_ms)

    def _note_taken(self) -> None:
        self._taken += [self._answers.get() for _ in range(self._answers.qsize())]
        if not self._taken:
            return
        with self._store.writing() as connection:
            told(connection, PUBLISHED, self._taken)
        for alarm_no, version in self._taken:
            if self._in_flight.get(alarm_no) == version:
                del self._in_flight[alarm_no]
        self._taken = []

    def _saying(self, alarm: AlarmEntry, version: int) -> Callable[[Subscriber], None]:
        def taken() -> None:
            self._answers.put((alarm.alarm_no, version))
            self._woken.set()

        def say(subscriber: Subscriber) -> None:
            if not subscriber.publish_alarm(alarm_message(alarm, boot_id=self._boot_id), taken):
                self._link_is_new.set()  # it is said again once there is a connection

        return say

    def _post(self, stop: threading.Event) -> None:
        if self._webhook.url is None:
            return
        repeat = self._monotonic() - self._repeated_s >= self._webhook.repeat_s
        with self._store.reading() as connection:
            waiting = untold(connection, self._site, POSTED)
            if repeat:
                known = {alarm.alarm_no for alarm, _ in waiting}
                waiting += [
                    (alarm, 0)
                    for alarm in open_alarms(connection)
                    if alarm.site == self._site and alarm.alarm_no not in known
                ]
        if repeat:
            self._repeated_s = self._monotonic()
        for at in range(0, len(waiting), ALERTS_AT_ONCE):
            some = waiting[at : at + ALERTS_AT_ONCE]
            if not self._posted([alert(alarm) for alarm, _ in some], stop):
                return
            with self._store.writing() as connection:
                told(connection, POSTED, [(alarm.alarm_no, v) for alarm, v in some if v])

    def _posted(self, alerts: list[dict[str, Any]], stop: threading.Event) -> bool:
        """Tries some times with growing pauses; what was not taken waits for the next round."""
        for attempt in range(1, self._webhook.attempts + 1):
            try:
                post(self._webhook, alerts)
            except WebhookRefusedError as refused:
                if str(refused) != self._board.now().webhook_problem:
                    LOG.warning("webhook: %s", refused)
                self._board.say(webhook_problem=str(refused))
                if attempt == self._webhook.attempts or stop.wait(self._backoff.next_s()):
                    return False
            else:
                self._backoff.reset()
                self._board.say(webhook_problem="")
                return True
        return False
