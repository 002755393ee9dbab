"""What a package gives on labelled images by the unit's own path, and how fast it is.

Knows importing, labelled images and quantization; no package is written here.
"""
