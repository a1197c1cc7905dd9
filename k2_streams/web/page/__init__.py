"""The page: files without a build step, and how they are served."""
