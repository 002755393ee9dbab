"""What both sides of a DICOM association share: syntaxes, limits, TLS, answers, data sets.

The lowest room of the bridge: it knows no object and no exam.
"""
