"""Images that come in as files: a watched folder.

Knows what a rejection note is; nothing of the other intakes.
"""
