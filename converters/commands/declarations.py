"""The bench's subcommands of `mammoedge`. Nothing heavy is imported here: `--help` loads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runtime.user_input.argument_types import above_zero, count, share, words, zero_or_more
from runtime.user_input.command import Command

if TYPE_CHECKING:
    from argparse import ArgumentParser

PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def _source_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help="the trained model")
    parser.add_argument(
        "--recipe",
        type=Path,
        required=True,
        help="what the model is (TOML), or the name of one that ships, as nyu",
    )


def _calibration_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--calibration",
        type=Path,
        action="append",
        required=True,
        metavar="DIR",
        help="DICOM, PNG, JPEG or TIFF images, with labels.csv beside them; may be given again",
    )
    parser.add_argument("--limit", type=count, default=300, help="calibration images (%(default)s)")
    parser.add_argument(
        "--target-cpu",
        choices=("any", "this", "vnni"),
        default="any",
        help="INT8 for every processor, this one, or those with VNNI (%(default)s)",
    )


def _labelled_arguments(parser: ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument("--images", type=Path, required=required, metavar="DIR")
    labels = parser.add_mutually_exclusive_group(required=required)
    labels.add_argument(
        "--labels",
        type=Path,
        help="columns file, label, and more for subgroups; laterality, view, pixel_spacing_mm and"
        " bits_stored say what files do not; with lesion_x_px, lesion_y_px and"
        " lesion_radius_px (from 0 at the top left) `evaluate` holds the map against lesions",
        metavar="CSV",
    )
    labels.add_argument(
        "--labels-from-folders",
        action="store_true",
        help="the last folder's name is the label, those above it are subgroups",
    )
    _positive_argument(parser)
    parser.add_argument(
        "--regions",
        action="store_true",
        help="images are pieces of views: no suitability gate, no orientation, no crop",
    )


def _positive_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--positive",
        type=words,
        default=(),
        metavar="WORD,...",
        help="labels that are positive, as 1,cancer,malignant; any other is not (malignant)",
    )


def _spacing_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--pixel-spacing-mm",
        type=above_zero,
        metavar="X",
        help="of images that do not say it",
    )


def _int8_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--int8",
        type=Path,
        metavar="DIR",
        help="of `quantize`, as --accuracy-aware makes it: its INT8 graph is taken",
    )


def _sign_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--sign", type=Path, metavar="KEY", help="private key of `keygen`")


def _threads_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--threads", type=count, help="CPU threads (OpenVINO's choice)")


def _json_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="nothing on stdout but one JSON line")


def _package_arguments(parser: ArgumentParser) -> None:
    _source_arguments(parser)
    _calibration_arguments(parser)
    _spacing_argument(parser)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the package")
    parser.add_argument("--card", type=Path, metavar="MD", help="CARD.md (else one is written)")
    _int8_argument(parser)
    _sign_argument(parser)
    _json_argument(parser)


def _evaluate_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="folder or .zip")
    _labelled_arguments(parser)
    _spacing_argument(parser)
    parser.add_argument("--min-auc", type=share, metavar="X", help="the verdict fails below")
    parser.add_argument("--precision", choices=PRECISIONS, help="(the package's advice)")
    parser.add_argument(
        "--device", action="append", dest="devices", metavar="DEVICE", help="NPU, GPU or CPU (CPU)"
    )
    _threads_argument(parser)
    _json_argument(parser)


def _convert_arguments(parser: ArgumentParser) -> None:
    _source_arguments(parser)
    parser.add_argument(
        "--precision",
        action="append",
        dest="precisions",
        choices=("fp32", "fp16", "bf16"),
        help="may be given again (fp16)",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the IR")


def _quantize_arguments(parser: ArgumentParser) -> None:
    _source_arguments(parser)
    _calibration_arguments(parser)
    _spacing_argument(parser)
    parser.add_argument("--preset", choices=("cnn", "transformer"), help="(the recipe's)")
    parser.add_argument(
        "--accuracy-aware", action="store_true", help="give layers back until the AUC holds"
    )
    parser.add_argument("--labels", type=Path, metavar="CSV", help="of --accuracy-aware")
    parser.add_argument("--images", type=Path, metavar="DIR", help="(the folder of the CSV)")
    _positive_argument(parser)
    parser.add_argument(
        "--max-drop", type=share, default=0.01, help="AUC that may be lost (%(default)s)"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the IR")


def _build_arguments(parser: ArgumentParser) -> None:
    _source_arguments(parser)
    _calibration_arguments(parser)
    _labelled_arguments(parser, required=False)
    _spacing_argument(parser)
    _margin_arguments(parser)
    _expected_argument(parser)
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="folder of the package, or one file NAME.zip"
    )
    _int8_argument(parser)
    _sign_argument(parser)
    parser.add_argument(
        "--mend-minutes",
        type=zero_or_more,
        default=15.0,
        metavar="X",
        help="where labelled images refuse INT8, no other way to it is begun later (%(default)g)",
    )
    parser.add_argument("--runs", type=count, default=20, help="inferences each (%(default)s)")
    parser.add_argument(
        "--target-ms",
        type=above_zero,
        metavar="X",
        help="p95 to be met: the choice becomes advice",
    )
    parser.add_argument("--without-explain", action="store_true", help="add no evidence map")
    parser.add_argument("--without-benchmark", action="store_true", help="measure no latency")
    _json_argument(parser)


def _expected_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--expected",
        type=Path,
        metavar="CSV",
        help="columns file, score: of your own pipeline, as witness of the preparation",
    )


def _verify_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="folder or .zip")
    parser.add_argument("--source", type=Path, required=True, help="the model it was made from")
    _labelled_arguments(parser)
    _spacing_argument(parser)
    parser.add_argument(
        "--precision",
        action="append",
        dest="precisions",
        choices=PRECISIONS,
        help="may be given again (all of the package)",
    )
    _margin_arguments(parser)
    _expected_argument(parser)
    _threads_argument(parser)
    parser.add_argument("--report", type=Path, metavar="HTML", help="write the report there")
    _json_argument(parser)


def _margin_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--margin", type=share, default=0.01, help="AUC that may be lost (%(default)s)"
    )
    parser.add_argument(
        "--accept-loss", type=share, metavar="X", help="instead of the margin, and on record"
    )


def _benchmark_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="folder or .zip")
    parser.add_argument(
        "--precision", action="append", dest="precisions", choices=PRECISIONS, help="(all)"
    )
    parser.add_argument(
        "--device", action="append", dest="devices", metavar="DEVICE", help="NPU, GPU or CPU (CPU)"
    )
    parser.add_argument(
        "--threads", action="append", type=count, help="CPU threads; may be given again"
    )
    parser.add_argument(
        "--streams", action="append", type=count, help="instead of hints; may be given again"
    )
    parser.add_argument(
        "--sweep", action="store_true", help="streams and threads in powers of two, instead"
    )
    parser.add_argument("--runs", type=count, default=50, help="inferences each (%(default)s)")
    parser.add_argument("--target-ms", type=above_zero, metavar="X", help="p95 that must be met")
    parser.add_argument(
        "--write", action="store_true", help="write the chosen setting into the package as advice"
    )
    _sign_argument(parser)
    parser.add_argument(
        "--without-app", action="store_true", help="do not run OpenVINO's benchmark_app"
    )
    _json_argument(parser)


def _explain_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="folder or .zip")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the new package")
    parser.add_argument("--version", help="of the new package (the old one's, and +evidence)")
    _sign_argument(parser)
    _threads_argument(parser)
    _json_argument(parser)


def _inspect_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("package", type=Path, metavar="PACKAGE", help="folder or .zip")
    parser.add_argument("--json", action="store_true", help="the manifest as JSON")


def _keygen_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("key", type=Path, metavar="KEY", help="where the private key is written")


def _schema_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--recipe", action="store_true", help="of a recipe, for an editor")


PACKAGE = Command(
    name="package",
    help="from a trained model to a package, without proof on labelled images",
    add_arguments=_package_arguments,
    run="converters.commands.package:run",
)
EVALUATE = Command(
    name="evaluate",
    help="AUC, sensitivity and specificity of a package on labelled images",
    add_arguments=_evaluate_arguments,
    run="converters.commands.evaluate:run",
)
CONVERT = Command(
    name="convert",
    help="from a trained model to static OpenVINO IR with the recipe's tail folded in",
    add_arguments=_convert_arguments,
    run="converters.commands.convert:run_convert",
)
QUANTIZE = Command(
    name="quantize",
    help="from a trained model to INT8 IR, told layer by layer",
    add_arguments=_quantize_arguments,
    run="converters.commands.convert:run_quantize",
)
BUILD = Command(
    name="build",
    help="from a trained model to a proved package, all steps, resumed where it stopped",
    add_arguments=_build_arguments,
    run="converters.commands.build:run",
)
VERIFY = Command(
    name="verify",
    help="source model against every precision of its package, on labelled images",
    add_arguments=_verify_arguments,
    run="converters.commands.verify:run",
)
BENCHMARK = Command(
    name="benchmark",
    help="latency and throughput of a package here, beside OpenVINO's benchmark_app",
    add_arguments=_benchmark_arguments,
    run="converters.commands.benchmark:run",
)
EXPLAIN = Command(
    name="explain",
    help="add an evidence map to a classifier, checked against occlusion",
    add_arguments=_explain_arguments,
    run="converters.commands.explain:run",
)
INSPECT = Command(
    name="inspect",
    help="check a package as a unit would, and show it",
    add_arguments=_inspect_arguments,
    run="converters.commands.inspection:run",
)
KEYGEN = Command(
    name="keygen",
    help="make an Ed25519 key pair to sign packages with",
    add_arguments=_keygen_arguments,
    run="converters.commands.keygen:run",
)
MANIFEST_SCHEMA = Command(
    name="manifest-schema",
    help="print the JSON Schema of manifest.json, or of a recipe",
    add_arguments=_schema_arguments,
    run="converters.commands.inspection:run_schema",
)
