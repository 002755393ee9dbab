"""Whether there is a breast in the picture, and whether the image may be judged at all.

Measures and their limits; no model.
"""
