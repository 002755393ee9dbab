"""`mammoedge demo`: two real exams in, flags out, with a broker of its own.

Knows the sender and everything below it; nothing but the commands knows the demo.
"""
