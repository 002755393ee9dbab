"""What a person gives a program, and is told: subcommands, numbers, sections of settings, faults.

Light, `--help` loads it; knows nothing of ours but the errors.
"""
