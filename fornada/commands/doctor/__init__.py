"""`fornada doctor`: what each part of a deployment answers, and how to fix it."""
