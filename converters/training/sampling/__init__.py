"""Which windows of which views the networks learn from next.

Knows networks and data; not the loops that ask it.
"""
