"""What stands before a network inside its graph: frames of sound, smaller images, fewer numbers. No weight learns."""
