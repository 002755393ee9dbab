"""The networks and the graph that ships."""
