"""A trained model in, a static-shape OpenVINO model with the recipe's linear tail folded in out.

The only room that reads a framework's files; knows no labels and no package.
"""
