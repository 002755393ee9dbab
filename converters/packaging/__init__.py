"""A package folder: assembled, signed, with card, report and golden cases."""
