"""The site's side of the wire bench: a subscriber in a process of its own, with TLS.

Arguments: port, ca, certificate, key, last. Prints `subscribed`, then `AT_NS SEQ` for each row
(`last` = 0), or one JSON summary once row `last` has come.
"""

from __future__ import annotations

import json
import re
import ssl
import sys
import time

import paho.mqtt.client as mqtt

SEQ = re.compile(rb'"seq":(\d+)')


def main(port: int, ca: str, certificate: str, key: str, last: int) -> None:
    """Subscribes and counts until standard input closes."""
    state = {"rows": 0, "doubles": 0, "in_order": True, "first_ns": 0, "last_ns": 0}
    highest = 0

    def on_message(_client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        nonlocal highest
        at_ns = time.time_ns()
        found = SEQ.search(message.payload)
        if found is None:
            return
        seq = int(found[1])
        if not last:
            print(at_ns, seq, flush=True)
            return
        state["first_ns"] = state["first_ns"] or at_ns
        if seq <= highest:
            state["doubles"] += 1
            return
        state["in_order"] = state["in_order"] and seq == highest + 1
        highest = seq
        state["rows"] += 1
        if seq == last:
            state["last_ns"] = at_ns
            print(json.dumps(state), flush=True)

    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.tls_set_context(context)
    client.on_message = on_message
    client.on_subscribe = lambda *_: print("subscribed", flush=True)
    client.connect("127.0.0.1", port)
    client.subscribe("mammoedge/v1/+/+/exam/#", 1)
    client.loop_start()
    sys.stdin.read()
    client.disconnect()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:5], int(sys.argv[5]))
