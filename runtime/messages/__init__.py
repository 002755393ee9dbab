"""The MQTT contract as frozen types: topics and payloads, of units and of the site's service.

Knows the types of image and exam and nothing of how they come about.
"""
