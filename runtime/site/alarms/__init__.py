"""What is wrong at a site, judged from the store.

Kept as alarms, told to the site, and replays asked for.
"""
