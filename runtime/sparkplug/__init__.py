"""The unit as a Sparkplug B edge node (Eclipse Sparkplug 3.0.0), beside our own contract.

Knows the ledger's rows and a connection to a broker; nothing of ours knows it but the unit.
"""
