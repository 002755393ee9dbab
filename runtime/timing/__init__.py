"""Times as they are said, waits between attempts, limits per second.

Knows nothing of ours.
"""
