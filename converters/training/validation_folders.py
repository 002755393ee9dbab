"""`python -m converters.training.validation_folders --data DIR --out DIR`: what validates.

`mammoedge evaluate` takes folders; the split is by patient, in `split.csv`. This writes OUT/crops
and OUT/digital with links to the validation part's files, so that the card's figures through the
runtime can be printed again. mini-MIAS validates as a whole: its own folder will do.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
CROPS, VIEWS = "cbis-ddsm-lesions", "cdd-cesm-dm"


def validation_patients(split: Path, data_set: str) -> frozenset[str]:
    """Those of `data_set` that the split keeps from training."""
    with split.open(encoding="utf-8-sig", newline="") as lines:
        return frozenset(
            row["patient"]
            for row in csv.DictReader(lines)
            if row["data_set"] == data_set and row["part"] == "validation"
        )


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve())


def lay_out_crops(data: Path, out: Path, patients: frozenset[str]) -> int:
    """Links to the patients' lesion crops, in the same folders; how many."""
    crops = [
        path
        for path in sorted((data / CROPS).glob("*/*/*.jpg"))
        if "_".join(path.stem.split("_")[:2]) in patients
    ]
    for path in crops:
        _link(path, out / path.relative_to(data / CROPS))
    return len(crops)


def lay_out_views(data: Path, out: Path, patients: frozenset[str]) -> int:
    """Links to the patients' views and their rows of labels.csv; how many views."""
    with (data / VIEWS / "labels.csv").open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        columns = list(reader.fieldnames or [])
        rows = [row for row in reader if row["patient"] in patients]
    files = sorted({row["file"] for row in rows})
    for name in files:
        _link(data / VIEWS / name, out / name)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "labels.csv").open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(files)


def main(arguments: Sequence[str] | None = None) -> None:
    """Lay out both, and print what to ask `evaluate`."""
    parser = argparse.ArgumentParser(
        prog="python -m converters.training.validation_folders",
        description="Folders of the validation part, for `mammoedge evaluate`.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--split", type=Path, default=HERE / "split.csv")
    options = parser.parse_args(arguments)
    if options.out.exists():
        parser.error(f"--out {options.out}: is there already")
    for needed in (options.data / CROPS, options.data / VIEWS / "labels.csv", options.split):
        if not needed.exists():
            parser.error(f"{needed}: is not there")
    crops, digital = options.out / "crops", options.out / "digital"
    try:
        images = lay_out_crops(options.data, crops, validation_patients(options.split, CROPS))
        views = lay_out_views(options.data, digital, validation_patients(options.split, VIEWS))
    except (OSError, LookupError) as fault:
        parser.error(repr(fault))
    if not images or not views:
        parser.error(f"{options.split} and {options.data}: {images} crops and {views} views fit")
    ask = "mammoedge evaluate PACKAGE --images"
    print(f"{images} crops: {ask} {crops} --regions --labels-from-folders --json")
    print(f"{views} views: {ask} {digital} --labels {digital / 'labels.csv'} --json")


if __name__ == "__main__":
    main()
