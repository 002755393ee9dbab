"""Labelled images at the bench: files, labels, lesions, and what gets one score.

Knows how the unit reads an image; no model.
"""
