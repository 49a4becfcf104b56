"""Chapter 00 of the course: what its notebook computes, draws and asks."""
