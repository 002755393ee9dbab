"""The training loops and their stages, resumed where they stopped.

Knows data, networks and sampling; not what is told of the result.
"""
