"""At the bench: trained model in, verified model package out."""
