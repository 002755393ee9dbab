"""Exams that nobody has: phantoms or real files issued anew, in a clinic's order.

Knows pixels and headers; not how an exam is sent.
"""
