"""What is known of one image, as frozen values: header, descriptors, prediction, outcome, reasons.

Knows no file, no pixel, no exam.
"""
