"""`make bench`: time to flag against the floor of the same work done bare, in one run."""
