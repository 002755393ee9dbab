"""The month's report and the export, and the words and drawings that they share with the page."""
