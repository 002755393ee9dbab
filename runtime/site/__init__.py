"""What a site runs: it hears the units, and keeps a picture of them."""
