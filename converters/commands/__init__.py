"""The bench's subcommands; each is a thin layer over the rooms below.

`declarations` is light, `mammoedge --help` loads it.
"""
