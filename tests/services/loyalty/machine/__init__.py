"""What may happen in a history, by whose deed it is; each does the same to the service and to the model."""
