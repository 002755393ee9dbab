"""`mammoedge watch` and `mammoedge tail`: the live model on a terminal, as lines or as JSON.

The only room that imports Textual.
"""
