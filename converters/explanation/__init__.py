"""An evidence map added to a classifier's package, and what shows that it may be trusted.

Knows how packages are assembled and evaluated; no command line.
"""
