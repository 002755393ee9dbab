"""Control charts of rates and drift per unit: what is normal, and when it is no more.

Most of it pure.
"""
