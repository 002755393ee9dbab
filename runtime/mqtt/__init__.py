"""One MQTT 5 session to the broker, and the outbox through it.

The only room of the runtime that imports paho.
"""
