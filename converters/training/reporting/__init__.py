"""What the card says of the trained network: figures on the validation part."""
