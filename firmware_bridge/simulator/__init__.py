"""`mammoedge simulate-unit`: units at a clinic's pace, over DICOM or the frame socket."""
