"""The doctor: looks at the environment, a recipe, its data and a run, and says what is wrong and what to do."""
