"""A subscriber as a stranger writes it: paho, jsonschema and the AsyncAPI document, nothing else.

usage: outsider.py DOCUMENT.json PORT SITE. A line on standard input tells it to finish: it does
once the unit's own word (`health`) says that it has everything. It prints what it knows as JSON.
"""

import json
import sys
import threading
import time
from pathlib import Path

import jsonschema
import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
port, site = int(sys.argv[2]), sys.argv[3]


class Outsider:
    def __init__(self):
        self.rows = {}
        self.topics = {}
        self.first = {}
        self.faults = []
        self.doubles = self.asked = 0
        self.last_word = None
        self.changed_at = self.asked_at = 0.0
        self.finishing_since = None
        self.channels = [
            (channel["address"].replace("{site}", site).split("/"), self.validator(channel), name)
            for name, channel in document["channels"].items()
        ]
        self.bindings = {
            operation["channel"]["$ref"].split("/")[-1]: operation["bindings"]["mqtt"]
            for operation in document["operations"].values()
        }
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id="python-outsider", protocol=mqtt.MQTTv5
        )
        self.client.reconnect_delay_set(0.05, 0.2)
        self.client.on_connect = lambda client, *_: client.subscribe(f"mammoedge/v1/{site}/#", 1)
        self.client.on_message = lambda _client, _userdata, message: self.hear(message)
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        self.client.connect("127.0.0.1", port, 30, clean_start=False, properties=session)

    def validator(self, channel):
        message = next(iter(channel["messages"].values()))
        payload = document["components"]["messages"][message["$ref"].split("/")[-1]]["payload"]
        return jsonschema.Draft7Validator({**payload, "components": document["components"]})

    def channel_of(self, topic):
        parts = topic.split("/")
        for address, validator, name in self.channels:
            if len(address) == len(parts) and all(
                word.startswith("{") or word == part
                for word, part in zip(address, parts, strict=True)
            ):
                return validator, name
        return None, None

    def hear(self, message):
        validator, name = self.channel_of(message.topic)
        if name is None:
            self.faults.append(f"no channel for {message.topic}")
            return
        if not message.payload:
            return  # a flag that expired
        body = json.loads(message.payload)
        self.faults += [f"{name}: {error.message}" for error in validator.iter_errors(body)]
        if message.qos != min(1, self.bindings[name]["qos"]):
            self.faults.append(f"{name}: QoS {message.qos}")
        if "seq" in body:
            if body["seq"] in self.rows:
                self.doubles += 1
                if self.rows[body["seq"]] != body:
                    self.faults.append(f"two rows under number {body['seq']}")
            else:
                self.rows[body["seq"]] = body
                self.topics[body["seq"]] = message.topic
                self.changed_at = time.monotonic()
        elif "last_seq" in body and body.get("state") != "offline" and not message.retain:
            self.last_word = (time.monotonic(), body)

    def missing(self):
        said = self.last_word[1]["last_seq"] if self.last_word else 0
        return [n for n in range(1, max([said, *self.rows]) + 1) if n not in self.rows]

    def look(self):
        """Asks for what is missing, not while it comes, and seldom; whether all is here."""
        now, missing = time.monotonic(), self.missing()
        word = self.last_word
        waits = word is not None and word[1].get("outbox", {"waiting": 0})["waiting"]
        if missing and not waits and now - max(self.changed_at + 1, self.asked_at + 4) > 0:
            unit = next(iter(self.rows.values()))["unit"] if self.rows else "mammo-1"
            topic = f"mammoedge/v1/{site}/{unit}/command/replay"
            self.client.publish(topic, json.dumps({"from_seq": missing[0]}), 1)
            self.asked_at, self.asked = now, self.asked + 1
        fresh = word is not None and self.finishing_since and word[0] > self.finishing_since
        return bool(fresh and not waits and not missing)

    def finish(self):
        sys.stdin.readline()
        self.finishing_since = time.monotonic()

    def run(self):
        threading.Thread(target=self.finish, daemon=True).start()
        self.client.loop_start()
        print("listening", flush=True)
        while not self.look():
            time.sleep(0.05)
        flags = {}
        for row in self.rows.values():
            if row["schema"] == "mammoedge.exam/1":
                known = flags.get(row["exam_key"])
                if known is None or row["revision"] > known[0]:
                    flags[row["exam_key"]] = [row["revision"], row["flag"]]
        rows = [[n, self.topics[n], self.rows[n]] for n in sorted(self.rows)]
        print(
            json.dumps(
                {
                    "rows": rows,
                    "flags": flags,
                    "faults": self.faults,
                    "doubles": self.doubles,
                    "asked": self.asked,
                    "modules": sorted(sys.modules),
                }
            )
        )


Outsider().run()
