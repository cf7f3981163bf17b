"""Whole ways through the house, from one end to the other."""
