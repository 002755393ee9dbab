"""`mammoedge simulate-site`: a thousand units on one machine, measured.

Nothing imports it.
"""
