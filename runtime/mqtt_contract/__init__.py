"""The MQTT contract as a document: made of the types, never written twice."""
