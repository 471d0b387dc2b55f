"""The guest agent: sees virtual functions, enrols with the host, serves the compute API to apps."""
