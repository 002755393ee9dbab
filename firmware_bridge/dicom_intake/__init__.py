"""Images that come in over the network: the Storage SCP, from socket to durable file."""
