"""The services of Kopilka. They never import one another: what one tells another is a record in `contracts`."""
