"""The clinic's rules: phases of an exam, retakes, which jobs an image makes, when it is flagged.

Pure: no clock, no storage, no message.
"""
