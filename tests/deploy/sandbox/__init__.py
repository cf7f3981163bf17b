"""The world outside, played on one machine."""
