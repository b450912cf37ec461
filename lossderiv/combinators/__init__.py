"""Likelihoods made of likelihoods: each file holds one function from densities to a density."""
