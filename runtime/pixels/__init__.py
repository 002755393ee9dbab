"""From a stored image to gray values: codecs, pixel formats, VOI LUT, preview.

The only room of the unit that imports imagecodecs.
"""
