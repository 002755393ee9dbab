"""Pictures for training: split by patient, cut, changed, prepared as the manifest declares."""
