"""`mammoedge site --config site.toml`: settings, then the service with its page, or the check."""

from __future__ import annotations

import logging
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from runtime.site.config.settings import load_site_settings
from runtime.site.control_charts.expected_rates import PackagesError
from runtime.site.service.check import check
from runtime.site.service.composition import SiteService, clock_ms
from runtime.site.store.store import StoreError
from runtime.system.process_secrecy import leave_nothing_readable
from runtime.user_input.settings_section import SettingsError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path

    from runtime.site.config.settings import SiteSettings
    from runtime.site.queries.fleet import Fleet
    from runtime.site.service.composition import Attendant
    from runtime.site.store.store import Store


def site_command(arguments: Namespace) -> int:
    """Until SIGTERM or SIGINT; 0 after a clean stop.

    Raises:
        SettingsError: site.toml, or what it names, has faults.
    """
    settings = load_site_settings(arguments.config)
    if arguments.check:
        return check(settings, as_json=arguments.json)
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        level=arguments.log_level, format="%(asctime)sZ %(levelname)s %(name)s: %(message)s"
    )
    leave_nothing_readable()
    try:
        service = SiteService(settings, attendants=partial(_page, settings, arguments.config))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: service.stop())
        service.run()
    except PackagesError as error:
        raise SettingsError(arguments.config, list(error.faults)) from error
    except StoreError as error:
        raise SettingsError(arguments.config, [f"store.database: {error.detail}"]) from error
    return 0


def _page(settings: SiteSettings, file: Path, store: Store, fleet: Fleet) -> Sequence[Attendant]:
    """The fleet page, where the settings have one."""
    if settings.page is None or not settings.page.enabled:
        return ()
    from runtime.site.config.page_settings import CredentialsError
    from runtime.site.page.fleet_page import FleetPage

    try:
        return (FleetPage(settings.page, store=store, fleet=fleet, clock_ms=clock_ms),)
    except CredentialsError as error:
        raise SettingsError(file, [f"page: {error}"]) from error
