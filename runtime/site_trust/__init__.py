"""Who may speak and listen at a site's broker: its private authority and what it vouches for.

Knows topics, keys and certificates; no connection.
"""
