"""`mammoedge site`: makes the parts of the site's service, runs and stops them.

Metrics and health too. May know every room of the site but the terminal.
"""
