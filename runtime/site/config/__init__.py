"""`site.toml`, checked completely at start.

Knows the sections of other rooms and no state.
"""
