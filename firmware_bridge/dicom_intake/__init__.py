"""Images that come in over the network: the Storage SCP, from socket to durable file.

Knows what the network and the services bring; nothing of sender and simulator.
"""
