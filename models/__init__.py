"""What a model is: the manifest contract and the packages that ship with the project.

The lowest room of all: no engine, no codec, no network.
"""
