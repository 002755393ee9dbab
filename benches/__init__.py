"""`make bench`: time to flag against the floor of the same work done bare, in one run.

Measures a unit from the outside; nothing of the product imports it.
"""
