"""`mammoedge doctor unit`: a running unit examined from the outside, as its site hears it."""
