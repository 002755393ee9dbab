"""`mammoedge site --check`: whether the service could start here, and be heard. Changes nothing."""

from __future__ import annotations

import json
import random
import secrets
import socket
import ssl
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from runtime.site.control_charts.expected_rates import PackagesError, expected_rates
from runtime.site.service.composition import clock_ms
from runtime.site.store.store import StoreError
from runtime.site.subscriber.subscriber import Subscriber, SubscriberSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.site.config.settings import MetricsSection, SiteSettings, WebhookSection

HEALTH_S = 2.0
LONGEST_HEALTH = 65_536


def check(settings: SiteSettings, *, as_json: bool) -> int:
    """A verdict each, printed as it is found; 0 if all are well, else 1."""
    failed = False
    for name, problem in _verdicts(settings):
        failed |= bool(problem)
        if as_json:
            print(json.dumps({"check": name, "ok": not problem, "problem": problem}), flush=True)
        else:
            told = f"{'ok  ' if not problem else 'FAIL'} {name}{': ' if problem else ''}{problem}"
            print(told, flush=True)
    return int(failed)


def _verdicts(settings: SiteSettings) -> Iterator[tuple[str, str]]:
    """What was checked, and what is the matter with it; "": nothing."""
    yield "settings", ""
    yield "database", _database_problem(settings)
    yield "packages", _packages_problem(settings)
    yield "broker", _broker_problem(settings)
    if settings.webhook.url is not None:
        yield "webhook", webhook_problem(settings.webhook)
    if settings.page is not None and settings.page.enabled:
        from runtime.site.page.fleet_page import page_problem

        yield "page", page_problem(settings.page)
    yield "ports", ports_problem(settings)


def _database_problem(settings: SiteSettings) -> str:
    try:
        with settings.store.make_store():
            return ""
    except (StoreError, OSError) as error:
        return str(error)


def _packages_problem(settings: SiteSettings) -> str:
    try:
        expected_rates(settings.watch.packages)
    except PackagesError as error:
        return str(error)
    return ""


def _broker_problem(settings: SiteSettings) -> str:
    """Why the broker does not let us listen; "" if it does."""
    subscriber = Subscriber(
        settings.broker,
        SubscriberSettings(
            site=settings.site.name,
            client_id=f"mammoedge-check-{secrets.token_hex(4)}",
            session_expiry_s=0,
        ),
        clock_ms=clock_ms,
        monotonic=time.monotonic,
        randomness=random.SystemRandom(),
    )
    deadline_s = time.monotonic() + 2 * settings.broker.connect_timeout_s
    try:
        while time.monotonic() < deadline_s:
            heard = subscriber.receive(0.5)
            if subscriber.up:
                return ""
            reason = getattr(heard, "reason", "")
            if reason:
                return str(reason)
    finally:
        subscriber.close(forget=True)
    return "no answer"


def webhook_problem(webhook: WebhookSection) -> str:
    """Why alarms would not arrive there; "" if somebody listens, whose certificate we trust.

    Says nothing to it: whatever is posted to an alarm's webhook may wake somebody.
    """
    target = urlsplit(webhook.url or "")
    try:
        if webhook.bearer_token_file is not None:
            webhook.bearer_token_file.read_text(encoding="utf-8")
        proxy = _proxy_of(target)
        spoken_to = proxy or target
        port = spoken_to.port or (443 if spoken_to.scheme == "https" else 80)
        address = (spoken_to.hostname or "", port)
        with socket.create_connection(address, timeout=webhook.timeout_s) as bare:
            if target.scheme == "https" and proxy is None:
                context = ssl.create_default_context()
                context.wrap_socket(bare, server_hostname=target.hostname).close()
    except (OSError, ValueError) as error:
        return f"{target.hostname}: {error}"
    return ""


def _proxy_of(target: SplitResult) -> SplitResult | None:
    """The proxy that alarms would take (the environment's, as urllib has it)."""
    host = target.hostname or ""
    named = urllib.request.getproxies().get(target.scheme)
    if named is None or urllib.request.proxy_bypass(host):
        return None
    return urlsplit(named if "//" in named else f"//{named}")


def ports_problem(settings: SiteSettings) -> str:
    """Which address cannot be served; "" if all are free, or served by this very service."""
    wanted: list[tuple[str, str, int]] = []
    if settings.metrics.enabled:
        wanted.append(("metrics", settings.metrics.host, settings.metrics.port))
    if settings.page is not None and settings.page.enabled:
        wanted.append(("page", settings.page.host, settings.page.port))
    problems = []
    with ExitStack() as held:
        # Held until all were tried: two that want the same address are found out too.
        for name, host, port in wanted:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                held.enter_context(closing(socket.create_server((host, port), family=family)))
            except OSError as error:
                problems.append(f"{name}.port {port} on {host}: {error.strerror or error}")
    if problems and _runs_already(settings.metrics, settings.site.service):
        return ""
    return "; ".join(problems)


def _runs_already(metrics: MetricsSection, service: str) -> bool:
    """Whether the service that we are checking is the one that answers there."""
    if not metrics.enabled or metrics.port == 0:
        return False
    scheme = "https" if metrics.certificate_file else "http"
    host = f"[{metrics.host}]" if ":" in metrics.host else metrics.host
    context = ssl.create_default_context() if scheme == "https" else None
    if context is not None:
        # Asked who it is, told nothing: its certificate names the site's address, not this one.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(f"{scheme}://{host}:{metrics.port}/health", timeout=HEALTH_S) as answer:
            said = answer.read(LONGEST_HEALTH)
    except urllib.error.HTTPError as error:  # 503: it runs, and is not well
        said = error.read(LONGEST_HEALTH)
    except (OSError, ValueError):
        return False
    try:
        answered = json.loads(said)
    except ValueError:
        return False
    return isinstance(answered, dict) and answered.get("service") == service
