"""`mammoedge doctor unit`: a running unit examined from the outside, as its site hears it.

Knows the intakes as a stranger would, by sending; its listener knows our messages and has a
connection of its own.
"""
