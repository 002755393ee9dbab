"""Which jobs a new image makes, by the package's scope. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.manifest import Scope
from runtime.exam_rules.exam_flag import Role

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from runtime.exam_rules.stored_object import StoredObject

CHECK_ONLY = ""
"""Slot of an image that no input port can take: the worker only says why it is not assessed."""

EXAM_SLOTS = ("RCC", "LCC", "RMLO", "LMLO")


def plan_jobs(
    scope: Scope,
    new: StoredObject,
    objects: Sequence[StoredObject],
    in_jobs: Collection[int] = (),
) -> list[list[tuple[int, str]]]:
    """(image_id, slot) lists, one for each job that `new` makes possible.

    `objects` are the exam's objects, oldest first, `new` among them. Scope `view` judges each
    image as it arrives. Scopes `breast` and `exam` judge the newest image of each view, when all
    the views of the group are there, and again with each later one; an older image of one of
    these views that no job has seen yet (`in_jobs`) gets its own.
    """
    if scope is Scope.VIEW:
        return [[(new.image_id, "any")]]
    if new.role is not Role.EXPECTED:
        return [[(new.image_id, CHECK_ONLY)]]
    newest = {item.header.view_code: item for item in objects if item.role is Role.EXPECTED}
    if scope is Scope.EXAM:
        group = {code: code for code in EXAM_SLOTS}
    else:
        side = new.header.laterality
        group = {f"{side}{view}": view for view in ("CC", "MLO")}
    if not group.keys() <= newest.keys():
        return []
    jobs = []
    for item in objects:
        code = item.header.view_code
        if item.role is not Role.EXPECTED or code not in group:
            continue
        if item.image_id == new.image_id or (
            item.image_id not in in_jobs and item is not newest[code]
        ):
            chosen = {**newest, code: item}
            jobs.append([(chosen[other].image_id, slot) for other, slot in group.items()])
    return jobs
