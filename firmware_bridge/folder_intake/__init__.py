"""Images that come in as files: a watched folder."""
