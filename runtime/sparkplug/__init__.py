"""The unit as a Sparkplug B edge node (Eclipse Sparkplug 3.0.0), beside our own contract."""
