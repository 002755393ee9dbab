"""The unit's one truth on disk: objects, jobs, exams, notices of the modality, the outbox.

The only room of a unit that knows SQL.
"""
