"""What the pages of a unit and of a site share: texts, files, live updates, security headers.

Knows nothing of exams, units or sites.
"""
