"""The entries of the catalogue of methods, by what the methods train."""
