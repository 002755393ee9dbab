"""Contract 2 as a document: made of the types, never written twice."""
