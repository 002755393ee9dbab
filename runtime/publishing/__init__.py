"""From results to messages: pseudonyms, topics and payloads for the outbox.

Pure; time is handed in.
"""
