"""Scores of images, line by line on disk: an interrupted verification goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What every model said of one image."""

    scores: dict[str, float]
    reason: str = ""
    peak_in_lesion: bool | None = None
    """Of the last model's map; None where it was not asked for (`ScoreCache` does not keep it)."""


class ScoreCache:
    """Answers by the image's key; a line that was cut off is forgotten."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, Answer] = {}
        if not file.is_file():
            return
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                key, scores, reason = json.loads(line)
            except ValueError:
                continue
            self._known[key] = Answer(scores=scores, reason=reason)

    def __len__(self) -> int:
        return len(self._known)

    def recall(self, key: str) -> Answer | None:
        """The answer for an image that was asked about before."""
        return self._known.get(key)

    def remember(self, key: str, answer: Answer) -> None:
        """Write it down at once."""
        self._known[key] = answer
        with self._file.open("a", encoding="utf-8") as opened:
            # A new line first: one that was cut off must not swallow this one.
            opened.write("\n" + json.dumps([key, answer.scores, answer.reason]))
