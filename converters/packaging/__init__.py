"""A package folder: assembled, signed, with card, report and golden cases.

Knows what was evaluated; the only room here that signs.
"""
