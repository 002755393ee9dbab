"""From a mammogram to a model's input, exactly as the manifest's recipe says.

Knows the recipe and the breast, no engine.
"""
