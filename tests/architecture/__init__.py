"""The architecture as tests: layers, sizes, routes, references and generated documents."""
