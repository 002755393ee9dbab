"""The page's own files: HTML with its words filled in, style, module, icons."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, PlainTextResponse, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.console.catalogue import Catalogue

MEDIA_TYPES = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "icons.svg": "image/svg+xml",
}
WORD = re.compile(r"\{\{([a-z0-9_.]+)\}\}")


@dataclass(frozen=True, kw_only=True)
class Pages:
    """All files, read once."""

    static: Mapping[str, bytes]
    html: Mapping[str, str]
    catalogues: Mapping[str, Catalogue]

    def render(self, name: str, language: str, *, status: int = 200, **values: str) -> HTMLResponse:
        """A page in a language; `values` stand in for the words of the same name."""
        texts = {**self.catalogues[language].texts, "language": language, **values}
        filled = WORD.sub(lambda word: html.escape(texts[word[1]]), self.html[name])
        return HTMLResponse(filled, status)

    def file(self, name: str) -> Response:
        """Style, module or icons."""
        content = self.static.get(name)
        if content is None:
            return PlainTextResponse("not found", 404)
        return Response(content, media_type=MEDIA_TYPES[name])


def load_pages(catalogues: Mapping[str, Catalogue]) -> Pages:
    """Reads them from the package."""
    folder = files("runtime.console") / "page"
    return Pages(
        static={name: (folder / name).read_bytes() for name in MEDIA_TYPES},
        html={
            item.name: item.read_text(encoding="utf-8")
            for item in folder.iterdir()
            if item.name.endswith(".html")
        },
        catalogues=catalogues,
    )
