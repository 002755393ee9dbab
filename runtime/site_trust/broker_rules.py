"""What the site's broker is told: Mosquitto's configuration and who may say and hear what."""

from __future__ import annotations

from runtime.messages.payloads import PAYLOAD_LIMIT_BYTES
from runtime.messages.topics import ROOT, SITE_SERVICE

PACKET_LIMIT_BYTES = 2 * PAYLOAD_LIMIT_BYTES
"""Our largest payload with its topic and properties fits; ten megabytes from anybody do not."""

CONFIGURATION = """\
# The broker of site {site}. Complete: it replaces /etc/mosquitto/mosquitto.conf.
# Mosquitto 2.0 or later, started as root, reads these files as the user mosquitto.
listener {port}
# TLS 1.2 or later; nobody without a certificate of this site's authority; its name is the user.
tls_version tlsv1.2
cafile {folder}/ca.pem
certfile {folder}/broker.pem
keyfile {folder}/broker.key
crlfile {folder}/crl.pem
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {folder}/acl
set_tcp_nodelay true
# Rows under way at once, to and from each client: a backlog drains as fast as it is answered.
max_inflight_messages 100

# Larger packets end the connection (MQTT 5, 3.1.2.11.4).
max_packet_size {packet_limit}
# What waits for a subscriber that is away; beyond it the subscriber sees a gap and asks for replay.
max_queued_messages 100000
max_queued_bytes 0
persistent_client_expiration 14d
persistence true
persistence_location {state_folder}/
# What a crash may lose: units put back flags that hold, the site asks for rows that are missing.
# If mosquitto.db is torn ("Couldn't open database") Mosquitto does not start: move the
# file away and start it.
autosave_interval 30

log_dest stderr
log_type error
log_type warning
log_type notice
# Who connects, and to what clients subscribe: Mosquitto grants a subscription that the access
# rules do not cover and then delivers nothing.
log_type information
log_type subscribe
# Each refused PUBLISH ("Denied PUBLISH from ..."), at the price of a line for every packet:
# log_type debug
"""

RULES = """\
# A unit (its certificate's name is %u) writes below its own name and hears its own commands.
pattern write {root}/%u/#
pattern read {root}/%u/command/#
{sparkplug}
# The site hears all; it writes commands and what it says itself.
user {service}
topic read {root}/#
topic write {root}/+/command/#
topic write {root}/{service}/#
{sparkplug_site}"""

SPARKPLUG_RULES = """\
# Sparkplug B (unit.toml, [sparkplug]).
pattern write spBv1.0/{site}/NBIRTH/%u
pattern write spBv1.0/{site}/NDEATH/%u
pattern write spBv1.0/{site}/NDATA/%u
pattern write spBv1.0/{site}/DBIRTH/%u/+
pattern write spBv1.0/{site}/DDATA/%u/+
pattern read spBv1.0/{site}/NCMD/%u
"""

SPARKPLUG_SITE_RULES = """\
topic read spBv1.0/{site}/#
topic write spBv1.0/{site}/NCMD/+
"""


def mosquitto_configuration(site: str, *, folder: str, state_folder: str, port: int) -> str:
    """mosquitto.conf. `folder`: where the broker's files will lie, on the broker's machine."""
    return CONFIGURATION.format(
        site=site,
        folder=folder.rstrip("/"),
        state_folder=state_folder.rstrip("/"),
        port=port,
        packet_limit=PACKET_LIMIT_BYTES,
    )


def access_rules(site: str, *, sparkplug: bool) -> str:
    """Mosquitto's acl_file. Patterns: a unit that is added later needs no change of it."""
    return RULES.format(
        root=f"{ROOT}/{site}",
        service=SITE_SERVICE,
        sparkplug=SPARKPLUG_RULES.format(site=site) if sparkplug else "",
        sparkplug_site=SPARKPLUG_SITE_RULES.format(site=site) if sparkplug else "",
    )
