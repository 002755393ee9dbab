"""What a site runs: it subscribes to its units, stores what they say, watches and reports."""
