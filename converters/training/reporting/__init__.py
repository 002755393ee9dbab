"""What the card says of the trained network: figures on the validation part.

Knows data, networks and sampling; not how they learnt.
"""
