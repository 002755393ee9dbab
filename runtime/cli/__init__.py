"""The `mammoedge` command and those of its subcommands that need no other folder.

May know every room of a unit. Imported by the demo, the doctor and the benches alone.
"""
