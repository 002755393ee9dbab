"""A page's own files: HTML with its words filled in, style, module, icons."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from runtime.web.languages import LANGUAGE_COOKIE, LANGUAGES, YEAR_S
from runtime.web.markup import escaped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from runtime.web.catalogue import Catalogue

MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
OWN = "runtime.web"
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
        filled = WORD.sub(lambda word: escaped(texts[word[1]]), self.html[name])
        return HTMLResponse(filled, status)

    def file(self, name: str) -> Response:
        """Style, module or icons."""
        content = self.static.get(name)
        if content is None:
            return PlainTextResponse("not found", 404)
        return Response(content, media_type=MEDIA_TYPES[PurePath(name).suffix])

    async def serve_file(self, request: Request) -> Response:
        """Answers `/static/{name}`."""
        return self.file(request.path_params["name"])

    async def serve_texts(self, request: Request) -> Response:
        """Answers `/text/{language}.json`: the words that a page's module fills in."""
        catalogue = self.catalogues.get(request.path_params["language"])
        if catalogue is None:
            return PlainTextResponse("not found", 404)
        return Response(catalogue.as_json(), media_type="application/json")

    async def choose_language(self, request: Request) -> Response:
        """Answers `/language/{language}`: this browser keeps it; an unknown one changes nothing."""
        language = request.path_params["language"]
        answer = RedirectResponse("/", 303)
        if language in LANGUAGES:
            answer.set_cookie(LANGUAGE_COOKIE, language, max_age=YEAR_S, samesite="strict")
        return answer


def load_pages(package: str, catalogues: Mapping[str, Catalogue]) -> Pages:
    """The files in the folder `page` of a package, and those that all pages share."""
    items = [item for name in (OWN, package) for item in (files(name) / "page").iterdir()]
    return Pages(
        static={
            item.name: item.read_bytes()
            for item in items
            if PurePath(item.name).suffix in MEDIA_TYPES
        },
        html={
            item.name: item.read_text(encoding="utf-8")
            for item in items
            if item.name.endswith(".html")
        },
        catalogues=catalogues,
    )
