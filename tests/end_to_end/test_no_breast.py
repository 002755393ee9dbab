"""A unit with the shipped package is sent what is no breast: each is said to be not assessed."""

from __future__ import annotations

from runtime.cli.init import reference_package
from tests.end_to_end.conftest import STORESCU, dcmtk_send
from tests.no_breast import families
from tests.support.synthetic import mammogram_dataset, write
from tests.support.waiting import wait_until

FAMILIES = {"text page", "clouds", "flat field", "chest film", "skull film", "photograph, piece"}


def sent_cases():
    """One of each; scikit-learn's photographs come with the tests."""
    seen = set()
    for case in (*families.drawn(1), *families.photographed(1)):
        if case.family in FAMILIES and case.family not in seen:
            seen.add(case.family)
            yield case


def test_what_is_no_breast_is_not_assessed_on_mqtt(story):
    """By dcmtk's storescu, INT8: a view message each with no_breast, and no exam has a priority."""
    story.broker.start()
    unit = story.unit(package=reference_package(), precision="int8", idle_timeout_s=2)
    unit.start().wait_listening()
    subscriber = story.subscriber()
    keys, files = {}, []
    for number, case in enumerate(sent_cases()):
        ds = mammogram_dataset(pixels=case.pixels, seed=300 + number)
        keys[unit.message_factory().image_key(ds.SOPInstanceUID)] = case.family
        files.append(write(ds, story.folder / f"{number}.dcm"))
    assert len(files) >= len(FAMILIES) - 1
    dcmtk_send(STORESCU, unit, files)

    def bodies(part):
        return [r.body for r in subscriber.once().values() if part(r.topic)]

    def views():
        return bodies(lambda topic: "/view/" in topic)

    def final_exams():
        exams = bodies(lambda topic: "/view/" not in topic and topic.startswith("exam/"))
        return {body["exam_key"]: body for body in exams if body["final"]}

    wait_until(lambda: len(final_exams()) == len(files), "a final flag for each", 120)
    said = {keys[body["image_key"]]: body["reasons"] for body in views()}
    assert said == {family: ["no_breast"] for family in keys.values()}
    assert {body["flag"] for body in final_exams().values()} == {"not_assessed"}
