# Looking without calling: what would be shipped, and why it could not be.
