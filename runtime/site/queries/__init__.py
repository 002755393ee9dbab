"""What is read from the store for page, metrics, report and alarms, as frozen values.

Writes nothing.
"""
