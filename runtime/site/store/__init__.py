"""The site's database: tables, transactions, sums, retention.

Knows rows and no unit; tables are spelt here alone.
"""
