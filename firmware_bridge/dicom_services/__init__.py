"""What comes in beside images: procedure steps, rejection notes, storage commitment."""
