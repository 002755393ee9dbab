"""A site's MQTT session, and what comes over it as typed values, live or from a recording.

Knows the MQTT contract, no live model and no store.
"""
