"""The process that decodes and infers, and the supervisor that feeds, times out and replaces it.

The pipeline serves the bench and `mammoedge judge` as well.
"""
