"""What a model is: the manifest contract and the packages that ship with the project."""
