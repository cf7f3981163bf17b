"""What crosses a service boundary: the records, and what is generated from them."""
