"""vaccelctl."""
