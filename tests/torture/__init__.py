"""A clinic under a seeded mix of faults, and an auditor who knows only what was said outside.

`make torture` runs it; `python -m tests.torture --help` says what can be chosen.
"""
