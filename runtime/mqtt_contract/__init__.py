"""The MQTT contract as a document: made of the types, never written twice.

Knows the messages; no broker and no network.
"""
