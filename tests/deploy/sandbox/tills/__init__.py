"""The simulated tills."""
