"""What fills an artifact, one file for each part: what an app embeds, how it is fed, and what proves that it is."""
