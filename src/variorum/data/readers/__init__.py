"""Readers: each knows one kind of data when it sees it, and makes a task of it."""
