"""Chapter 06 of the course: what its notebook computes, draws and asks."""
