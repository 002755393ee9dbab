"""On the unit: image in, flag out; everything after the spool."""
