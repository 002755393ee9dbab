"""What happens to an exam at a unit, each step as one ledger transaction.

Images are spooled and registered, the modality says what it took, flags go out. Knows the rules,
the ledger and the messages; no codec, no engine, no socket.
"""
