"""From the broker into the store: receives, commits, and only then acknowledges.

Whatever comes twice counts once.
"""
