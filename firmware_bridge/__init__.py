"""How images come in from a unit and flags go back; and how exams are sent as a unit would."""
