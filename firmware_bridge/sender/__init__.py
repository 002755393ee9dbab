"""`mammoedge send`: files as an acquisition workstation would send them.

Storage SCU and MPPS SCU.
"""
