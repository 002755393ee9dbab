"""What a person gives a program: subcommands, their numbers, sections of settings files.

Light, `--help` loads it; knows nothing of ours.
"""
