"""On the unit: image in, flag out; everything from the spool on.

Everything that a unit runs stands in the rooms below, and what a site runs in `site`; this file
has no code.
"""
