"""The unit's door: how images come in from a unit, and how exams are sent as a unit would."""
