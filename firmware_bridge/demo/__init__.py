"""`mammoedge demo`: two real exams in, flags out, with a broker of its own."""
