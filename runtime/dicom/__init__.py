"""DICOM files from the outside: elements, header, spacing, identity, and where the pixels lie.

Reads no pixel.
"""
