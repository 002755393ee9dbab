"""The page of `mammoedge reference site-toml`."""

from __future__ import annotations

from runtime.site.config.page_settings import PageSettings
from runtime.site.config.settings import SiteSettings
from runtime.user_input.reference_page import Part, parts_of, reference_page


def site_parts() -> list[Part]:
    """The tables of site.toml."""
    page = Part(heading="`[page]`", model=PageSettings)  # optional: no section, no page
    return [*parts_of(SiteSettings, besides={"page"}), page]


def site_toml() -> str:
    """The page on site.toml."""
    return reference_page(
        "site.toml",
        "What the service of a site is told at its start. Unknown keys are refused; `mammoedge site"
        " --check` names every fault with its key. Paths may be relative to the file.",
        site_parts(),
    )
