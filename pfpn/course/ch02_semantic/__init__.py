"""Chapter 02 of the course: what its notebook computes, draws and asks."""
