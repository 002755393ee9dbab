"""What both sides of a DICOM association share: syntaxes, limits, TLS, answers, data sets."""
