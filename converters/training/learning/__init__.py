"""The training loops and their stages, resumed where they stopped."""
