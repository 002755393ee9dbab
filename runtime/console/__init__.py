"""The technologist's page: what the unit knows of today's exams and of itself, live."""
