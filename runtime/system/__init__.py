"""What we ask of the operating system: memory, threads, signals, files that stay secret, hints.

Knows nothing of ours but the root of errors.
"""
