"""What a header says of an image: its kind, side, view, modifiers and spacing, by all that speak.

Knows elements of a data set and the values of `image`; no file, no pixel.
"""
