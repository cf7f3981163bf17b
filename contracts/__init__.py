"""What crosses a service boundary: events, commands and state on Kafka topics.

Every record type is a pydantic model whose fields carry unit, meaning and example; JSON Schemas and the AsyncAPI
document beside them are generated (`python -m contracts.generate`). This package imports pydantic and the standard
library alone, so that a till or an analyst can take it as it is.
"""
