"""What a site runs: it subscribes to its units, stores what they say, watches and reports.

Knows the messages of a unit and no unit's inside; no other room of the runtime imports it.
"""
