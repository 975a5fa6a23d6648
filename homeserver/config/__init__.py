"""Typed configuration: model, loader and documentation generator."""
