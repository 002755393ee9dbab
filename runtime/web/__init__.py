"""What the pages of a unit and of a site share: words, files, live frames, security headers."""
