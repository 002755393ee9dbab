"""A site's MQTT session, and what comes over it as typed values, live or from a recording.

Knows the contract, no picture and no store.
"""
