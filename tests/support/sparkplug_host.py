"""An independent Sparkplug host, run by an environment of its own: pysparkplug and paho 1.6.

Argument: port. Prints one JSON line for each message below `spBv1.0/#`; each line on standard
input is a node ("GROUP NODE") that is asked for rebirth. Nothing of ours is imported.
"""

from __future__ import annotations

import json
import sys
import time

CLASSES = ("NBirth", "NDeath", "NData", "DBirth", "DData")


def plain(metric) -> dict:
    """A metric as JSON."""
    return {
        "type": metric.datatype.name,
        "value": metric.value,
        "null": metric.is_null,
        "historical": metric.is_historical,
    }


def main(port: int) -> None:
    """Listens until standard input closes."""
    import paho.mqtt.client as mqtt
    import pysparkplug as sp

    decoders = {name.upper(): getattr(sp, name) for name in CLASSES}

    def on_message(_client, _userdata, message) -> None:
        kind = message.topic.split("/")[2]
        if kind == "NCMD":
            return
        said = decoders[kind].decode(message.payload)
        metrics = getattr(said, "metrics", None) or (said.bd_seq_metric,)
        line = {
            "topic": message.topic,
            "kind": kind,
            "qos": message.qos,
            "retain": message.retain,
            "seq": getattr(said, "seq", None),
            "metrics": {metric.name: plain(metric) for metric in metrics},
        }
        print(json.dumps(line), flush=True)

    client = mqtt.Client(client_id="independent-host")
    client.on_message = on_message
    client.on_subscribe = lambda *_: print('{"kind": "ready"}', flush=True)
    client.connect("127.0.0.1", port)
    client.subscribe("spBv1.0/#", 1)
    client.loop_start()
    for line in sys.stdin:
        group, node = line.split()
        now_ms = time.time_ns() // 1_000_000
        metric = sp.Metric(
            timestamp=now_ms,
            name="Node Control/Rebirth",
            datatype=sp.DataType.BOOLEAN,
            value=True,
        )
        command = sp.NCmd(timestamp=now_ms, metrics=(metric,)).encode(include_dtypes=True)
        client.publish(f"spBv1.0/{group}/NCMD/{node}", command, 0)
    client.disconnect()


if __name__ == "__main__":
    main(int(sys.argv[1]))
