"""A subscriber in a process of its own: one line for each message, with the time it arrived.

Line: wall clock in ns, kind (`view` or `exam`), image or exam key, `final` or `open`.
"""

from __future__ import annotations

import json
import sys
import time

import paho.mqtt.client as mqtt


def main(port: int) -> None:
    """Subscribes and prints until standard input closes."""

    def on_message(_client: object, _userdata: object, message: mqtt.MQTTMessage) -> None:
        at_ns = time.time_ns()
        kind = message.topic.split("/")[4]
        if kind not in ("exam", "status") or not message.payload:
            return
        body = json.loads(message.payload)
        if kind == "status":
            line = f"{at_ns} status {body['state']} -"
        elif "/view/" in message.topic:
            line = f"{at_ns} view {body['image_key']} {body['outcome']}"
        else:
            line = f"{at_ns} exam {body['exam_key']} {'final' if body['final'] else 'open'}"
        print(line, flush=True)

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_message = on_message
    client.on_subscribe = lambda *_: print(f"{time.time_ns()} subscribed - -", flush=True)
    client.connect("127.0.0.1", port)
    client.subscribe("mammoedge/v1/#", 1)
    client.loop_start()
    sys.stdin.read()
    client.disconnect()


if __name__ == "__main__":
    main(int(sys.argv[1]))
