"""A frame of a detector as the DICOM object around its pixels, on disk.

Knows the messages of the frame socket; no socket of its own.
"""
