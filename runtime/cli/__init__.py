"""The `mammoedge` command and those of its subcommands that need no other folder.

Nothing imports it but the demo and the doctor, which write a unit's settings with it.
"""
