"""The frame socket's messages, from packets to frozen types and back.

Knows no file, no ledger.
"""
