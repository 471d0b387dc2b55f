"""Kinds of card, the catalogue of cards, and the registry that finds both."""
