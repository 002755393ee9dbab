"""A frame of a detector as the DICOM object around its pixels, on disk."""
