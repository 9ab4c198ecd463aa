"""Replicated data that merges without agreement. Pure: names, references and values in, values out."""
