"""The month's report and the export, and the words and drawings that they share with the page.

Knows the questions to the store; no page, no broker.
"""
