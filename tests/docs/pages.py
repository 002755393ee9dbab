"""The pages that people read, taken apart: headings, links, commands, code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.conftest import ROOT

FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\]\[]|\n)*\]\(([^()\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
SHELL = ("", "bash", "sh")


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        """From the top of the project."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        """As it stands in the file."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """Without what stands in fences."""
        return FENCE.sub("\n", self.text)

    def blocks(self, *languages: str) -> list[str]:
        """The fences of these languages; "" is one without."""
        return [body for _, said, body in FENCE.findall(self.text) if said in languages]

    @property
    def anchors(self) -> set[str]:
        """Of its headings, as GitHub and MkDocs make them."""
        titles = re.findall(r"^#{1,6} (.+)$", self.prose, re.MULTILINE)
        return {_slug(title) for title in titles}

    @property
    def links(self) -> list[str]:
        """Where its links and pictures lead, other hosts left out."""
        found = LINK.findall(SPAN.sub("", self.prose))
        return [target for target in found if not re.match(r"[a-z]+:", target)]

    @property
    def spans(self) -> list[str]:
        """What stands between single backticks."""
        return SPAN.findall(self.prose)

    @property
    def shell_lines(self) -> list[str]:
        """The lines of its shell blocks, joined where one ends with a backslash."""
        indented = re.findall(r"^    (\S.*)$", self.prose, re.MULTILINE)
        text = "".join(self.blocks(*SHELL)) + "\n".join(indented)
        lines = text.replace("\\\n", " ").splitlines()
        return [line.strip() for line in lines if line.strip()]


def _slug(title: str) -> str:
    bare = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", bare).replace(" ", "-")


def pages() -> list[Page]:
    """README and its siblings, docs/, and the READMEs of folders."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    docs = sorted((ROOT / "docs").rglob("*.md"))
    folders = ("models", "runtime", "firmware_bridge", "converters")
    inner = [file for name in folders for file in sorted((ROOT / name).rglob("*.md"))]
    return [Page(file) for file in (*top, *docs, *inner)]


def told() -> list[Page]:
    """Those that are written by hand and told today: not the changelog, not what is generated."""
    apart = {"CHANGELOG.md", "docs/wire.md"}
    return [page for page in pages() if page.name not in apart]


def page(name: str) -> Page:
    """One of them."""
    return Page(ROOT / name)
