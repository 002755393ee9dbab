"""Pictures for training: split by patient, cut, changed, prepared as the manifest declares.

The lowest room of the training: it knows no network.
"""
