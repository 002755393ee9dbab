"""Labelled images at the bench: files, labels, lesions, and what gets one score."""
