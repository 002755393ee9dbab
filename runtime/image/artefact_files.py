"""What the files are called that the worker leaves beside a spooled object.

Apart from what draws them: the control process serves them and must not load pixel libraries.
"""

PREVIEW_SUFFIX = ".preview.jpg"
EVIDENCE_SUFFIX = ".evidence.npy"
