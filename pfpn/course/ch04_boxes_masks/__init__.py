"""Chapter 04 of the course: what its notebook computes, draws and asks."""
