"""What one subscriber knows of a site, folded from what it heard; in bounded memory.

Pure: every time is handed in.
"""
