"""The fleet page: a site's units in a browser, and who may look at them.

Knows what the store is asked and who has signed in; it writes nothing of a unit's.
"""
