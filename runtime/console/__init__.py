"""The technologist's page: what the unit knows of today's exams and of itself, live.

Knows the ledger and the unit's state by what it is handed; it changes nothing but an
acknowledgement.
"""
