"""Images that come in as frames, over the Unix socket of the unit's firmware.

Flags go back over it.
"""
