"""How images come in from a unit and flags go back; and how exams are sent as a unit would.

Knows the runtime's ports; nothing of the runtime knows it but by entry point.
"""
