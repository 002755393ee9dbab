"""A package made from another: files changed, hashes renewed, the old signature gone."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from converters.packaging.package_writer import REPORT, seal, staged
from converters.packaging.report_sections import RECIPE_HEADING, with_section
from models.package import CARD, SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from models.manifest import Manifest
    from models.package import Package


@dataclass(kw_only=True)
class Revision:
    """What may be changed before the package is sealed again."""

    folder: Path
    """A copy of the package; its files may be replaced."""
    manifest: Manifest
    """Is written with the hashes of the files as they are then."""

    def report(self, name: str, body: str) -> None:
        """Add or renew a section of report.html, where the package has one."""
        report = self.folder / REPORT
        if report.is_file():
            text = with_section(
                report.read_text(encoding="utf-8"), name, body, before=RECIPE_HEADING
            )
            report.write_text(text, encoding="utf-8")

    def card(self, name: str, body: str) -> None:
        """Add or renew a section of CARD.md."""
        card = self.folder / CARD
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        card.write_text(with_section(text, name, f"\n{body}\n"), encoding="utf-8")

    def rename(self, previous: str) -> None:
        """Put the manifest's name and version in the headings that say `previous`."""
        for name, heading in (
            (CARD, "# {}\n"),
            (REPORT, "<h1>{}</h1>"),
            (REPORT, "<title>{}</title>"),
        ):
            path = self.folder / name
            if path.is_file():
                text = path.read_text(encoding="utf-8")
                renamed = heading.format(escape(self.manifest.label))
                text = text.replace(heading.format(escape(previous)), renamed, 1)
                path.write_text(text, encoding="utf-8")


@contextmanager
def revised(package: Package, out: Path, signing_key: Path | None = None) -> Iterator[Revision]:
    """A copy of `package` that becomes `out` when the block ends well; `out` may be its folder.

    Raises:
        BenchFaultError: `out` is no package, the disk would not take it, or an unusable key.
    """
    with staged(out) as folder:
        shutil.copytree(package.folder, folder, dirs_exist_ok=True)
        (folder / SIGNATURE).unlink(missing_ok=True)
        revision = Revision(folder=folder, manifest=package.manifest)
        yield revision
        revision.rename(package.manifest.label)
        seal(folder, revision.manifest, signing_key)
