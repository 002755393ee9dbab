"""`mammoedge doctor unit`: a running unit examined from the outside, as its site hears it.

Knows the doors as a stranger would, by sending; its listener uses nothing of ours.
"""
