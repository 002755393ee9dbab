"""What comes in beside images: procedure steps, rejection notes, storage commitment.

Knows the network below it; neither the intakes that carry it nor the sender.
"""
