"""What ships: the artifact's files, one module for each part."""
