"""`python -m benches.build_ratio SOURCE RECIPE IMAGES FOLDER...`: build against its parts.

The parts, done bare in the same process: reading and preparing the images, convert_model, NNCF.
In seconds of processor time, which other work on the machine disturbs least. `build` measures no
latency here: that takes as long as one lets it.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import nncf
import openvino

from converters.importing.recipe import read_recipe
from converters.labelled.image_reading import (
    ImageRefusedError,
    SideNotes,
    images_below,
    read_image,
    side_notes,
)
from runtime.cli.main import main
from runtime.preprocessing.preparation import prepare


def bare(source: Path, recipe_path: Path, folders: list[Path], images: int) -> dict[str, float]:
    """Seconds of convert_model and nncf.quantize, preparing images as it asks for them."""
    recipe = read_recipe(recipe_path)
    steps = recipe.steps_for(recipe.inputs[0])
    files = [path for folder in folders for path in sorted(images_below(folder))]
    started = time.process_time()
    model = openvino.convert_model(str(source))
    converted = time.process_time()
    nncf.set_log_level(logging.ERROR)
    notes = {folder: side_notes(folder) for folder in {path.parent for path in files}}

    def tensors(path: Path) -> dict[str, object]:
        try:
            image = read_image(path, notes[path.parent].get(path.name, SideNotes()))
            return {recipe.inputs[0].tensor: prepare(image, steps).tensor}
        except ImageRefusedError:
            return tensors(files[0])

    nncf.quantize(
        model,
        nncf.Dataset(files[:images], tensors),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=images,
    )
    return {"convert": converted - started, "nncf": time.process_time() - converted}


def run(source: Path, recipe: Path, folders: list[Path], images: int) -> None:
    """Print one JSON line with the seconds of each and the ratio."""
    parts = bare(source, recipe, folders, images)
    with tempfile.TemporaryDirectory() as scratch:
        words = [
            "build",
            source,
            "--recipe",
            recipe,
            "--limit",
            images,
            "--without-benchmark",
            "-o",
            Path(scratch) / "out",
        ]
        for folder in folders:
            words += ["--calibration", folder]
        started = time.process_time()
        if main([*map(str, words), "--json"]) > 1:  # 1: made, and proved by no labelled image
            sys.exit("build failed")
        built = time.process_time() - started
    figures = {name: round(seconds, 1) for name, seconds in parts.items()}
    ratio = round(built / sum(parts.values()), 3)
    print(json.dumps(figures | {"build": round(built, 1), "ratio": ratio}))


if __name__ == "__main__":
    words = [Path(word) for word in sys.argv[1:]]
    run(words[0], words[1], words[3:], int(sys.argv[3]))
