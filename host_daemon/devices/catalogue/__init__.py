"""Card files: one TOML file per card, each value with its unit and its source."""
