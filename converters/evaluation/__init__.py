"""What a package gives on labelled images by the unit's own path, and how fast it is."""
