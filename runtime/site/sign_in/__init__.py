"""Who may look at the fleet page: passwords, sessions, the provider.

Knows its settings and nothing of units.
"""
