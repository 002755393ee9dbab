"""A trained model in, a static-shape OpenVINO model with the recipe's linear tail folded in out."""
