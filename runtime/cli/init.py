"""`mammoedge init`: a commented unit.toml that runs as it is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from models.package import load_package
from runtime.publishing.site_key import write_site_key
from runtime.site_trust.arguments import is_about_a_site

if TYPE_CHECKING:
    from argparse import Namespace

TEMPLATE = """\
# Settings of one mammography unit. `mammoedge check` says whether they hold.
# Relative paths count from this file. Unknown keys are refused.

[unit]
site = "{site}"          # topic: mammoedge/v1/SITE/UNIT/...
unit = "{unit}"

[storage]
folder = "data"          # spool and ledger; on a disk that survives a power cut
reserve_mb = 2048        # below this much free space new images are refused, flags still flow
keep_images_days = 7
keep_records_days = 30

[model]
package = "{package}"
precision = "{precision}"       # one of the package's: fp32, fp16, bf16, int8; else what it advises
operating_point = "balanced"
devices = ["NPU", "GPU", "CPU"]   # in order of preference; what is missing is passed over, and said
allow_unsigned = false   # true only on a bench: `status` says so. The package that ships is trusted
# trusted_keys = ["<64 hex digits>"]   # Ed25519 public keys that may sign packages

[worker]
job_timeout_s = 60       # a view that takes longer ends as not_assessed: processing_failed
max_megapixels = 64

[exam]
expected_views = ["RCC", "LCC", "RMLO", "LMLO"]
idle_timeout_s = 300     # an exam with views missing ends this long after its last image
max_images = 100         # of one exam; others are kept, and not judged

[identity]
site_key_file = "site.key"   # makes pseudonyms of UIDs; the same file at all units of a site
publish_accession_number = false
publish_study_instance_uid = false

[broker]
host = "127.0.0.1"
port = 1883
tls = false              # across a network: true, port 8883, and the three files below
# ca_file = "ca.pem"
# certificate_file = "unit.pem"
# key_file = "unit.key"

[expiry]
exam_hours = 24          # how long a flag stays true
event_days = 7
replay_days = 7          # how long a site may ask for what it missed

[sparkplug]              # the same flags as a Sparkplug B edge node, by a second connection
enabled = false
# group = "{site}"       # group id; the broker's rules (init --sparkplug) are for the site's name

[console]                # the technologist's page, on the unit's own screen
enabled = true
host = "127.0.0.1"       # beyond this machine only with the three files below
port = 8080
language = "en"          # en, de, es, fr; a person at the screen may choose another
identity = ["accession_number", "initials", "study_time"]   # shown, never sent or logged
previews = true          # small pictures, "not for diagnostic use" burnt in
unacknowledged_after_s = 600   # a priority flag that nobody saw by then is published as such
sound = false
# certificate_file = "console.pem"
# key_file = "console.key"
# token_file = "console.token"   # at least 32 characters; asked for once per browser

[drift]                  # what images look like, against the unit's own first ones
baseline_images = 400    # where the package's reference.json has no descriptors
# baseline_since = 2026-11-22   # begin anew with the images of that day: a scanner was changed

[intake.dicom]           # DICOM Storage, Verification, MPPS, Storage Commitment SCP
ae_title = "MAMMOEDGE"
host = "0.0.0.0"
port = 11112
# calling_ae_titles = ["MAMMO1"]             # who may send; without: everybody
# commitment_pacs = "PACS@archive:11112"     # who may commit objects; without: always failure
# [intake.dicom.procedure_views]             # procedure codes of exams with fewer views
# "MG-L" = ["LCC", "LMLO"]
# [intake.dicom.tls]                         # then TLS only, certificates on both sides
# certificate_file = "unit.pem"
# key_file = "unit.key"
# ca_file = "ca.pem"

# [intake.folder]        # a watched folder
# folder = "inbox"

# [intake.frames]        # the frame socket for the unit's firmware: docs/connect-frames.md
# socket = "/run/mammoedge/frames.sock"
# users = ["firmware"]   # who may connect; without it only the service's own user
"""


def reference_package() -> Path:
    """The package that ships with the project."""
    import models

    return Path(next(iter(models.__path__))).resolve() / "reference"


def unit_toml(*, site: str, unit: str, package: Path, precision: str) -> str:
    """The text of a unit.toml; names are checked when it is loaded."""
    return TEMPLATE.format(site=site, unit=unit, package=package.as_posix(), precision=precision)


def init_command(arguments: Namespace) -> int:
    """Writes unit.toml and site.key; 1 if a unit.toml is there and must stay.

    With the options of a site it works on the site's folder instead.
    """
    if is_about_a_site(arguments):
        from runtime.site_trust.command import site_command

        return site_command(arguments)
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "unit.toml"
    if file.exists() and not arguments.force:
        print(f"mammoedge: {file} is there already; --force replaces it", file=sys.stderr)
        return 1
    package = reference_package()
    text = unit_toml(
        site=arguments.site or "my-site",
        unit=arguments.unit,
        package=package,
        precision=load_package(package).manifest.default_precision,
    )
    file.write_text(text, encoding="utf-8")
    print(f"{file}: written")
    key = folder / "site.key"
    if key.exists():
        print(f"{key}: kept")
    else:
        write_site_key(key)
        print(f"{key}: made; copy it to the site's other units, keep it secret")
    print(f"Next: mammoedge check --config {file}, then mammoedge run --config {file}")
    return 0
