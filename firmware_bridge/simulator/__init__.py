"""`mammoedge simulate-unit`: units at a clinic's pace, over DICOM or the frame socket.

Knows the sender and the frame protocol; a unit only by its ports.
"""
