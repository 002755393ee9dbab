"""Pictures of anything but a breast, to be refused: drawn from seeds, or found where installed."""
