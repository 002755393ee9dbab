"""The networks and the graph that ships.

Knows what the data look like; not how it learns.
"""
