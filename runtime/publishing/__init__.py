"""From results to messages: pseudonyms, topics and payloads for the outbox.

Time is handed in; reads and writes one file, the site key.
"""
